import { PurserError } from '../../model/errors.ts'

/** runc takes no higher ids; a parser that wraps around above them ends at root (CVE-2024-40635). */
export const ID_MAX = 2 ** 31 - 1

/**
 * Bounds on an image's `/etc/passwd` and `/etc/group`, so that a hostile one cannot eat the memory (CVE-2026-47262).
 * A reader stops one byte above the first and hands on what it has: it is refused here.
 */
export const USER_FILE_BYTES_MAX = 1 << 20
export const USER_FILE_LINE_MAX = 64 << 10

/** The kernel's NGROUPS_MAX. */
export const ADDITIONAL_GIDS_MAX = 65_536

/** The text of an image's `/etc/passwd` and `/etc/group`; undefined where the image has none. */
export interface UserFiles {
  passwd?: string | undefined
  group?: string | undefined
}

export interface ResolvedUser {
  uid: number
  gid: number
  /** The primary group first, then those that list the user, ascending; each once. */
  additionalGids: number[]
  /** For the variable `HOME`; `/` where `/etc/passwd` names none. */
  home: string
}

interface Account {
  name: string
  uid: number
  gid: number
  home: string
}

/**
 * Who a process runs as: `user`, `uid`, `user:group`, `uid:gid` and mixtures, looked up in the image's own files.
 *
 * What looks like a number is one, in bounds or refused: it is never taken for a name, which an image could map to root
 * (CVE-2026-46680). A number needs no entry in the files, a name does. Lines that do not parse are skipped, so that no
 * field of theirs reads as 0. The primary group is an additional one too (CVE-2022-36109).
 *
 * @param user empty means `0`, an empty group the user's primary one
 * @throws PurserError invalid_argument when it is malformed, out of bounds, or the user or group is not in the files;
 *   failed_precondition when a file exceeds its bounds
 * @see image-spec, config.md, "User"; containerd, oci/spec_opts.go, WithUser and WithAdditionalGIDs
 */
export function resolveUser(user: string, files: UserFiles): ResolvedUser {
  const [owner = '', group = '', ...rest] = user.split(':')
  if (rest.length > 0) throw refused(user, 'has more than one colon', 'write user, user:group, uid or uid:gid')
  const id = numericId(owner === '' ? '0' : owner, user)
  const found = firstAccount(files.passwd, (account) =>
    id === undefined ? account.name === owner : account.uid === id,
  )
  if (found === undefined && id === undefined) {
    throw refused(user, `names a user that is not in the image's /etc/passwd: ${shown(owner)}`, 'give a uid')
  }
  const account = found ?? { name: undefined, uid: id ?? 0, gid: 0, home: '/' }
  const gid = group === '' ? account.gid : (numericId(group, user) ?? groupNamed(group, user, files.group))
  return { uid: account.uid, gid, additionalGids: groupsOf(account.name, gid, files.group), home: account.home || '/' }
}

function numericId(text: string, user: string): number | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined
  const id = decimalId(text)
  if (id === undefined) throw refused(user, `is out of bounds: ${shown(text)}`, `ids are 0 to ${ID_MAX}`)
  return id
}

/** @returns undefined when it is not a decimal number within the bounds */
function decimalId(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,32}$/.test(text)) return undefined
  const id = Number(text)
  return id <= ID_MAX ? id : undefined
}

function firstAccount(passwd: string | undefined, matches: (account: Account) => boolean): Account | undefined {
  for (const line of linesOf('/etc/passwd', passwd)) {
    const [name = '', , uidText, gidText, , home = ''] = line.split(':', 7)
    const uid = decimalId(uidText)
    const gid = decimalId(gidText)
    if (name === '' || uid === undefined || gid === undefined) continue
    const account = { name, uid, gid, home: isHome(home) ? home : '/' }
    if (matches(account)) return account
  }
  return undefined
}

/** It becomes part of an environment variable, where a NUL would end it. */
const isHome = (home: string): boolean => home.startsWith('/') && !home.includes('\0')

function groupNamed(group: string, user: string, text: string | undefined): number {
  for (const line of linesOf('/etc/group', text)) {
    const [name, , gidText] = line.split(':', 4)
    const gid = decimalId(gidText)
    if (name === group && gid !== undefined) return gid
  }
  throw refused(user, `names a group that is not in the image's /etc/group: ${shown(group)}`, 'give a gid')
}

/**
 * Groups of a process with those that are asked for besides, each by its name in the image's file or its number.
 *
 * @throws PurserError invalid_argument when one is out of bounds or not in the file
 */
export function groupsAdded(own: readonly number[], asked: readonly string[], text: string | undefined): number[] {
  const given = asked.map((group) => numericId(group, group) ?? groupNamed(group, group, text))
  return [...new Set([...own, ...given])]
}

function groupsOf(name: string | undefined, gid: number, text: string | undefined): number[] {
  const gids = new Set([gid])
  if (name === undefined) return [gid]
  for (const line of linesOf('/etc/group', text)) {
    const [group, , gidText, members = ''] = line.split(':', 4)
    const id = decimalId(gidText)
    if (id === undefined || group === name || !isMember(members, name)) continue
    gids.add(id)
    if (gids.size > ADDITIONAL_GIDS_MAX) throw tooBig('/etc/group', `${ADDITIONAL_GIDS_MAX} groups for one user`)
  }
  gids.delete(gid)
  return [gid, ...[...gids].sort((a, b) => a - b)]
}

/** Without splitting the list, which may be long. */
const isMember = (members: string, name: string): boolean => `,${members},`.includes(`,${name},`)

/** Line by line, without comments and empty ones; a generator, so that a big file makes no big array. */
function* linesOf(path: string, text: string | undefined): Generator<string> {
  if (text === undefined) return
  if (Buffer.byteLength(text) > USER_FILE_BYTES_MAX) throw tooBig(path, `${USER_FILE_BYTES_MAX} bytes`)
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start)
    const end = newline < 0 ? text.length : newline
    if (end - start > USER_FILE_LINE_MAX) throw tooBig(path, `${USER_FILE_LINE_MAX} characters in a line`)
    const line = text.slice(start, end).trim()
    if (line !== '' && !line.startsWith('#')) yield line
    start = end + 1
  }
}

const shown = (text: string): string => JSON.stringify(text.slice(0, 64))

const refused = (user: string, why: string, remedy: string): PurserError =>
  new PurserError('invalid_argument', `user ${shown(user)} ${why}`, { remedy, field: 'user' })

const tooBig = (path: string, bound: string): PurserError =>
  new PurserError('failed_precondition', `${path} of the image has more than ${bound}`, {
    remedy: 'use an image with a smaller one',
  })
