// Usage: node list.mjs ARCHIVE [READER]
// Every block of an archive as @ipld/car reads it, one JSON object a line, and the roots in a last one. READER is
// "iterator" (streams, the default), "reader" (the whole file) or "indexed" (by offset, each block fetched by its CID).
import { createReadStream, readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { CarBlockIterator, CarReader } from '@ipld/car'
import { CarIndexedReader } from '@ipld/car/indexed-reader'
import * as dagCbor from '@ipld/dag-cbor'
import { blake3 } from '@noble/hashes/blake3.js'
import { equals } from 'multiformats/bytes'
import * as hasher from 'multiformats/hashes/hasher'

const BLAKE3 = hasher.from({ name: 'blake3', code: 0x1e, encode: (bytes) => blake3(bytes) })

async function * iterated (path) {
  const blocks = await CarBlockIterator.fromIterable(createReadStream(path))
  yield * blocks
  yield await blocks.getRoots()
}

async function * whole (path) {
  const reader = await CarReader.fromBytes(readFileSync(path))
  yield * reader.blocks()
  yield await reader.getRoots()
}

async function * fetched (path) {
  const reader = await CarIndexedReader.fromFile(path)
  const cids = []
  for await (const cid of reader.cids()) cids.push(cid)
  for (const cid of cids) yield await reader.get(cid)
  yield await reader.getRoots()
  await reader.close()
}

async function describe ({ cid, bytes }) {
  const digest = await BLAKE3.digest(bytes)
  if (!equals(digest.bytes, cid.multihash.bytes)) throw new Error(`block ${cid} does not hash to its CID`)
  return {
    cid: cid.toString(),
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    same: equals(dagCbor.encode(dagCbor.decode(bytes)), bytes)
  }
}

const [path, kind = 'iterator'] = process.argv.slice(2)
for await (const item of { iterator: iterated, reader: whole, indexed: fetched }[kind](path)) {
  console.log(JSON.stringify(Array.isArray(item) ? { roots: item.map(String) } : await describe(item)))
}
