import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../../../host/syscalls.ts'

const fileIn = (bundle: string): string => join(bundle, 'health-failures')

/** How often the probe of a task has failed on end, as the daemon before this one counted; only changes of health are events. */
export function rememberedFailures(bundle: string): number {
  try {
    return Number.parseInt(readFileSync(fileIn(bundle), 'utf8'), 10) || 0
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0
    throw error
  }
}

/** With the bundle it is gone when the task is. */
export const rememberFailures = (bundle: string, failures: number): void =>
  writeFileSync(fileIn(bundle), String(failures))
