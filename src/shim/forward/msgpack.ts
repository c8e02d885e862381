/** What is encoded here of MessagePack: all that Fluentd's forward protocol needs. */
export type Packable = number | string | Buffer | EventTime | readonly Packable[] | { readonly [key: string]: Packable }

/** Fluentd's extension: seconds and nanoseconds. @see Forward Protocol Specification v1, "EventTime" */
export class EventTime {
  readonly seconds: number
  readonly nanoseconds: number

  constructor(seconds: number, nanoseconds: number) {
    this.seconds = seconds
    this.nanoseconds = nanoseconds
  }
}

/** @see MessagePack specification */
export function pack(value: Packable): Buffer {
  const pieces: Buffer[] = []
  put(value, pieces)
  return Buffer.concat(pieces)
}

function put(value: Packable, out: Buffer[]): void {
  if (typeof value === 'number') out.push(head(value, { small: [0x00, 0x80], u8: 0xcc, u16: 0xcd, u32: 0xce }))
  else if (typeof value === 'string') {
    const bytes = Buffer.from(value)
    out.push(head(bytes.length, { small: [0xa0, 0x20], u8: 0xd9, u16: 0xda, u32: 0xdb }), bytes)
  } else if (Buffer.isBuffer(value)) out.push(head(value.length, { u8: 0xc4, u16: 0xc5, u32: 0xc6 }), value)
  else if (value instanceof EventTime) {
    const bytes = Buffer.from([0xd7, 0x00, 0, 0, 0, 0, 0, 0, 0, 0])
    bytes.writeUInt32BE(value.seconds, 2)
    bytes.writeUInt32BE(value.nanoseconds, 6)
    out.push(bytes)
  } else if (isList(value)) {
    out.push(head(value.length, { small: [0x90, 0x10], u16: 0xdc, u32: 0xdd }))
    for (const each of value) put(each, out)
  } else {
    const entries = Object.entries(value)
    out.push(head(entries.length, { small: [0x80, 0x10], u16: 0xde, u32: 0xdf }))
    for (const [key, each] of entries) {
      put(key, out)
      put(each, out)
    }
  }
}

const isList = (value: Packable): value is readonly Packable[] => Array.isArray(value)

interface Form {
  /** The first byte of the shortest form, and how many values that has. */
  small?: readonly [base: number, count: number]
  u8?: number
  u16: number
  u32: number
}

function head(value: number, { small, u8, u16, u32 }: Form): Buffer {
  if (small && value < small[1]) return Buffer.of(small[0] + value)
  if (u8 !== undefined && value < 0x100) return Buffer.of(u8, value)
  if (value < 0x10000) return Buffer.of(u16, value >> 8, value & 0xff)
  const bytes = Buffer.of(u32, 0, 0, 0, 0)
  bytes.writeUInt32BE(value, 1)
  return bytes
}
