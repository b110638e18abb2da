// Usage: node --input-type=module - ARCHIVE frame|decode < read.mjs, in a folder with node_modules
// Reads every block of an archive with @ipld/car as a stream; "decode" decodes each with @ipld/dag-cbor too.
import { createReadStream } from 'node:fs'
import { CarBlockIterator } from '@ipld/car'
import * as dagCbor from '@ipld/dag-cbor'

const [path, manner] = process.argv.slice(2)
const blocks = await CarBlockIterator.fromIterable(createReadStream(path, { highWaterMark: 1024 * 1024 }))
let count = 0
for await (const { bytes } of blocks) {
  if (manner === 'decode') dagCbor.decode(bytes)
  count += 1
}
if (count === 0) throw new Error('no block was read')
