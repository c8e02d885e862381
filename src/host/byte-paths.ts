/**
 * File names are bytes, not text. Inside the program a name is a byte string: a JavaScript string with one character
 * per byte (latin1), so that it can be compared, split and used as a key; it becomes bytes again at the system call.
 */
export type ByteString = string

const NOT_ASCII = /[\u0080-\uffff]/

/** A byte string as a path for node:fs: as it is when it is ASCII, else the bytes. */
export const fsPath = (name: ByteString): string | Buffer => (NOT_ASCII.test(name) ? Buffer.from(name, 'latin1') : name)

/** A byte string as a C string argument: ASCII goes as a string, other bytes as a buffer that ends in zero. */
export const cPath = (name: ByteString): string | Buffer =>
  NOT_ASCII.test(name) ? Buffer.from(`${name}\0`, 'latin1') : name

/** Text (UTF-8 when encoded) as a byte string. */
export const byteString = (text: string): ByteString =>
  NOT_ASCII.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text

/** A byte string as text for a message, cut to a readable length; bytes that are not UTF-8 show as U+FFFD. */
export function printable(name: ByteString): string {
  const text = NOT_ASCII.test(name) ? Buffer.from(name, 'latin1').toString('utf8') : name
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text)
}
