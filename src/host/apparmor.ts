import { accessSync, constants, readFileSync } from 'node:fs'

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

/** Whether SELinux labels processes here. */
export const isSelinuxOn = (): boolean => textOf('/sys/fs/selinux/enforce') !== undefined
