import { once } from 'node:events'

export type Format = 'table' | 'json' | 'ndjson' | 'csv'

/** Prints rows as a table or as comma-separated values, or as they are in JSON. */
export function print<T>(rows: readonly T[], format: Format, columns: Record<string, (row: T) => string>): void {
  if (format === 'json') return void printJson(rows)
  if (format === 'ndjson') return void process.stdout.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  const cells = [Object.keys(columns), ...rows.map((row) => Object.values(columns).map((column) => column(row)))]
  if (format === 'csv') return void process.stdout.write(csvOf(cells))
  const widths = Object.keys(columns).map((_, index) =>
    cells.reduce((width, line) => Math.max(width, line[index]?.length ?? 0), 0),
  )
  const lines = cells.map((line) => line.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('   '))
  process.stdout.write(lines.map((line) => `${line.trimEnd()}\n`).join(''))
}

/** @param rows the first is the header @see RFC 4180 */
export const csvOf = (rows: readonly (readonly string[])[]): string =>
  rows.map((cells) => `${cells.map(quoted).join(',')}\r\n`).join('')

const quoted = (cell: string): string => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)

/** One document: indented, or on one line where lines are asked for. */
export function printJson(value: unknown, format: Format = 'json'): void {
  process.stdout.write(`${JSON.stringify(value, null, format === 'ndjson' ? undefined : 2)}\n`)
}

/** Writes, and waits while the reader is behind. */
export async function writeOut(stream: NodeJS.WriteStream, data: string | Uint8Array): Promise<void> {
  if (!stream.write(data)) await once(stream, 'drain')
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/** As docker shows sizes: powers of 1000, three digits. */
export function humanSize(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; Number(value.toPrecision(3)) >= 1000 && unit < UNITS.length - 1; unit++) value /= 1000
  return `${Number(value.toPrecision(3))}${UNITS[unit]}`
}

const AGES: readonly [unit: string, seconds: number][] = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
]

/** How long ago a time was, in the largest unit that fits: `3 minutes ago`. */
export function age(time: string, nowMs = Date.now()): string {
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(time)) / 1000))
  const [unit, size] = AGES.find(([, size]) => seconds >= size) ?? ['second', 1]
  const count = Math.floor(seconds / size)
  return `${count} ${unit}${count === 1 ? '' : 's'} ago`
}
