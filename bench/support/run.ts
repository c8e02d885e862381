import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** Runs a program to its end. @returns what it wrote @throws Error with stderr, when it fails */
export async function run(program: string, args: readonly string[]): Promise<string> {
  return (await execute(program, args, { maxBuffer: 64 * 2 ** 20 })).stdout
}
