export type Format = 'table' | 'json' | 'ndjson'

/** Prints rows as a table, or as they are in JSON. */
export function print<T>(rows: readonly T[], format: Format, columns: Record<string, (row: T) => string>): void {
  if (format === 'json') return void process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
  if (format === 'ndjson') return void process.stdout.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  const cells = [Object.keys(columns), ...rows.map((row) => Object.values(columns).map((column) => column(row)))]
  const widths = Object.keys(columns).map((_, index) => Math.max(...cells.map((line) => line[index]?.length ?? 0)))
  for (const line of cells)
    process.stdout.write(
      `${line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('   ')
        .trimEnd()}\n`,
    )
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/** As docker shows sizes: powers of 1000, three digits. */
export function humanSize(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; value >= 1000 && unit < UNITS.length - 1; unit++) value /= 1000
  return `${Number(value.toPrecision(3))}${UNITS[unit]}`
}

export function age(time: string, nowMs = Date.now()): string {
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(time)) / 1000))
  const [count, unit] =
    seconds < 60
      ? [seconds, 'second']
      : seconds < 3600
        ? [Math.floor(seconds / 60), 'minute']
        : seconds < 86_400
          ? [Math.floor(seconds / 3600), 'hour']
          : [Math.floor(seconds / 86_400), 'day']
  return `${count} ${unit}${count === 1 ? '' : 's'} ago`
}
