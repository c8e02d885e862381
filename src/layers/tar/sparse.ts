import type { ByteString } from '../../host/byte-paths.ts'
import { BLOCK_BYTES, malformed, numberField, type SparseRegion } from './header.ts'
import { decimal } from './pax.ts'

/** Regions of an old GNU sparse header or extension block. @see GNU tar manual, "Old GNU Format" */
export function parseOldSparse(block: Buffer, offset: number, count: number, into: SparseRegion[]): void {
  for (let index = 0; index < count; index += 1) {
    const at = offset + index * 24
    if (block[at] === 0 && block[at + 12] === 0) return
    into.push({
      offset: numberField(block, at, 12, 'a sparse offset'),
      length: numberField(block, at + 12, 12, 'a sparse length'),
    })
  }
}

/** Where things are in old GNU sparse headers. */
export const OLD_SPARSE = {
  header: { offset: 386, count: 4, isExtended: 482, realBytes: 483 },
  extension: { offset: 0, count: 21, isExtended: 504 },
} as const

/** The map of GNU.sparse 1.0: decimal numbers, one a line, before the data, padded to whole blocks. */
export class SparseMapReader {
  readonly regions: SparseRegion[] = []
  #left: number | undefined
  #line = ''
  #offset: number | undefined

  /** Takes one block. @returns true once the map is whole; the rest of that block is padding */
  take(block: Buffer): boolean {
    for (let at = 0; at < BLOCK_BYTES; at += 1) {
      const byte = block[at] ?? 0
      if (byte !== 0x0a) {
        if (this.#line.length > 16) throw malformed('a line of the sparse map is too long')
        this.#line += String.fromCharCode(byte)
        continue
      }
      const number = decimal(this.#line, 'the sparse map')
      this.#line = ''
      if (this.#left === undefined) this.#left = number
      else if (this.#offset === undefined) this.#offset = number
      else {
        this.regions.push({ offset: this.#offset, length: number })
        this.#offset = undefined
        this.#left -= 1
      }
      if (this.#left === 0) return true
    }
    return false
  }
}

/** @throws PurserError data_loss unless the regions ascend, fit the file, and are together as long as the data */
export function checkSparse(regions: readonly SparseRegion[], realBytes: number, dataBytes: number, path: ByteString) {
  let end = 0
  let sum = 0
  for (const { offset, length } of regions) {
    if (offset < end || offset + length > realBytes)
      throw malformed('its sparse regions overlap or exceed its size', path)
    end = offset + length
    sum += length
  }
  if (sum !== dataBytes) throw malformed(`its sparse regions have ${sum} bytes, its data ${dataBytes}`, path)
}
