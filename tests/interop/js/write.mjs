// Usage: node write.mjs ARCHIVE OUT ORDER
// The blocks of an archive written anew by @ipld/car's CarWriter: in the same order ("copy") or from the last to the
// first ("reverse").
import { createReadStream, createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CarReader, CarWriter } from '@ipld/car'

const [path, out, order] = process.argv.slice(2)
const source = await CarReader.fromIterable(createReadStream(path))
const blocks = []
for await (const block of source.blocks()) blocks.push(block)
if (order === 'reverse') blocks.reverse()

const { writer, out: made } = await CarWriter.create(await source.getRoots())
const written = pipeline(Readable.from(made), createWriteStream(out))
for (const block of blocks) await writer.put(block)
await writer.close()
await written
