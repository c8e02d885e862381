import { failed } from './failed.ts'

/**
 * Does something with each argument, in order, and prints what it leads to. All are tried; each that fails says so on a line
 * of its own.
 *
 * @returns the exit status of the first that failed, or 0
 */
export async function each(
  names: readonly string[],
  debug: boolean,
  act: (name: string) => Promise<string>,
): Promise<number> {
  let status = 0
  for (const name of names) {
    try {
      process.stdout.write(`${await act(name)}\n`)
    } catch (thrown) {
      const code = failed(thrown, { debug })
      if (status === 0) status = code
    }
  }
  return status
}
