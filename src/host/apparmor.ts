import { execFile } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { PurserError } from '../model/errors.ts'

const PARSER = '/sbin/apparmor_parser'
const PROFILES = '/sys/kernel/security/apparmor/profiles'

const textOf = (file: string): string | undefined => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

/** Whether the kernel heeds profiles. */
export const isAppArmorOn = (): boolean => textOf('/sys/module/apparmor/parameters/enabled')?.trim() === 'Y'

/** The program that loads profiles; undefined where it is not installed. */
export function appArmorParser(): string | undefined {
  try {
    accessSync(PARSER, constants.X_OK)
    return PARSER
  } catch {
    return undefined
  }
}

/** @see apparmor(7): each line is a name and its mode in parentheses */
export const isProfileLoaded = (name: string): boolean =>
  (textOf(PROFILES) ?? '').split('\n').some((line) => line.startsWith(`${name} (`))

/** Gives the kernel a profile, instead of what it has by that name. @throws PurserError with what the parser says */
export async function loadProfile(parser: string, text: string, signal: AbortSignal): Promise<void> {
  const loading = promisify(execFile)(parser, ['--replace', '--skip-cache'], { signal })
  loading.child.stdin?.on('error', () => {}) // It may end before it has read all: why, it says.
  loading.child.stdin?.end(text)
  try {
    await loading
  } catch (cause) {
    signal.throwIfAborted()
    const { stderr } = cause as { stderr?: string }
    throw new PurserError(
      'failed_precondition',
      `AppArmor did not take the profile: ${(stderr ?? String(cause)).trim()}`,
      {
        remedy: 'see that apparmor_parser works here, or run with --security-opt apparmor=unconfined',
        cause,
      },
    )
  }
}
