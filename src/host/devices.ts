import { lstatSync, readdirSync, realpathSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'

/** A device node as it is on the host. */
export interface HostDevice {
  path: string
  type: 'b' | 'c'
  major: number
  minor: number
  fileMode: number
  uid: number
  gid: number
}

const DEVICES_MAX = 4096
const DEPTH_MAX = 8

/** What in /dev is no device of the machine, but of whoever looks. */
const NOT_GIVEN = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev', 'console', 'ptmx'])

/** @see makedev(3) */
const majorOf = (rdev: number): number => Number(((BigInt(rdev) >> 8n) & 0xfffn) | ((BigInt(rdev) >> 32n) & ~0xfffn))
const minorOf = (rdev: number): number => Number((BigInt(rdev) & 0xffn) | ((BigInt(rdev) >> 12n) & 0xffffff00n))

function deviceAt(path: string, stats: Stats): HostDevice | undefined {
  if (!stats.isBlockDevice() && !stats.isCharacterDevice()) return undefined
  const { rdev, mode, uid, gid } = stats
  return {
    path,
    type: stats.isBlockDevice() ? 'b' : 'c',
    major: majorOf(rdev),
    minor: minorOf(rdev),
    fileMode: mode & 0o7777,
    uid,
    gid,
  }
}

/**
 * The device that a path leads to, or all below a directory; links are followed for the path itself.
 *
 * @param path is also what the devices are called in the result
 * @returns none where there is something else
 * @throws ENOENT and the like of node:fs
 */
export function devicesAt(path: string): HostDevice[] {
  const real = realpathSync(path)
  const stats = statSync(real)
  if (!stats.isDirectory()) {
    const device = deviceAt(path, stats)
    return device === undefined ? [] : [device]
  }
  return below(real, 0).map((device) => ({ ...device, path: join(path, device.path.slice(real.length)) }))
}

/** All devices of the machine, as they are in /dev. @param withTerminals also those that would be a container's own */
export const allDevices = (): HostDevice[] => below('/dev', 0)

function below(directory: string, depth: number): HostDevice[] {
  const found: HostDevice[] = []
  for (const name of readdirSync(directory)) {
    if (NOT_GIVEN.has(name)) continue
    const path = join(directory, name)
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats === undefined) continue
    const device = deviceAt(path, stats)
    if (device !== undefined) found.push(device)
    else if (stats.isDirectory() && depth < DEPTH_MAX) found.push(...below(path, depth + 1))
    if (found.length > DEVICES_MAX) throw new Error(`there are more than ${DEVICES_MAX} devices in ${directory}`)
  }
  return found
}
