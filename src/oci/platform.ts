import { arch, endianness } from 'node:os'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'

/** Where an image runs, in Go's names: `linux`, `amd64`, `arm64`, `arm` with `v7`. @see image-spec, image-index.md */
export interface Platform {
  os: string
  architecture: string
  variant?: string
  /** Of Windows: `10.0.17763.1339`. */
  osVersion?: string
}

const platformWord = z.string().max(128)

export const platformSchema = z
  .object({
    os: platformWord,
    architecture: platformWord,
    variant: platformWord.nullish(),
    'os.version': platformWord.nullish(),
  })
  .transform(
    (given): Platform => ({
      os: given.os,
      architecture: given.architecture,
      ...(given.variant ? { variant: given.variant } : {}),
      ...(given['os.version'] ? { osVersion: given['os.version'] } : {}),
    }),
  )

const ARCHITECTURES: Record<string, [architecture: string, variant?: string]> = {
  i386: ['386'],
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
}
const OSES: Record<string, string> = { macos: 'darwin' }
const KNOWN_OSES = new Set(['linux', 'darwin', 'windows', 'freebsd', 'netbsd', 'openbsd', 'wasi', 'wasip1'])
const NODE_ARCHITECTURES: Record<string, string> = { x64: 'amd64', ia32: '386' }

/**
 * `os[(version)]/architecture[/variant]`; one word alone is an OS or an architecture, and the host gives the rest.
 *
 * @throws PurserError invalid_argument
 */
export function parsePlatform(text: string, host = hostPlatform()): Platform {
  const [, osVersion] = /^[^/()]+\(([A-Za-z0-9_.-]{1,64})\)(?:\/|$)/.exec(text) ?? []
  const parts = (osVersion === undefined ? text : text.replace(`(${osVersion})`, '')).split('/')
  const [first = '', second, variant] = parts
  const versioned = (platform: Platform) => (osVersion === undefined ? platform : { ...platform, osVersion })
  if (parts.length > 3 || parts.some((part) => !/^[A-Za-z0-9_.-]{1,64}$/.test(part))) {
    throw new PurserError('invalid_argument', `${JSON.stringify(text.slice(0, 200))} is not a platform`, {
      remedy: 'write os/architecture[/variant], such as linux/arm64 or linux/arm/v7',
    })
  }
  if (second !== undefined) {
    const named = { os: first, architecture: second, ...(variant === undefined ? {} : { variant }) }
    return versioned(normalisePlatform(named))
  }
  const os = first.toLowerCase()
  if (KNOWN_OSES.has(OSES[os] ?? os)) return versioned(normalisePlatform({ ...host, os }))
  return normalisePlatform({ os: host.os, architecture: first })
}

export function formatPlatform({ os, architecture, variant, osVersion }: Platform): string {
  const version = osVersion === undefined ? '' : `(${osVersion})`
  return `${os}${version}/${architecture}${variant === undefined ? '' : `/${variant}`}`
}

/** One name for each platform: `linux/aarch64` and `linux/arm64/v8` are both `linux/arm64`. @see containerd, platforms/database.go */
export function normalisePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase()
  const given = platform.architecture.toLowerCase()
  const [architecture, implied] = ARCHITECTURES[given] ?? [given]
  const variant = normaliseVariant(architecture, implied ?? platform.variant?.toLowerCase())
  const { osVersion } = platform
  return {
    os: OSES[os] ?? os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { osVersion }),
  }
}

function normaliseVariant(architecture: string, variant: string | undefined): string | undefined {
  const named = variant === '' ? undefined : variant && /^\d/.test(variant) ? `v${variant}` : variant
  if (architecture === 'arm') return named ?? 'v7'
  if (architecture === 'arm64') return named === 'v8' || named === 'v8.0' ? undefined : named
  if (architecture === 'amd64') return named === 'v1' ? undefined : named
  return named
}

/** The platform of this machine. */
export function hostPlatform(): Platform {
  const node = arch()
  const architecture = node === 'ppc64' && endianness() === 'LE' ? 'ppc64le' : (NODE_ARCHITECTURES[node] ?? node)
  return normalisePlatform({ os: process.platform === 'win32' ? 'windows' : process.platform, architecture })
}

/**
 * What runs on a platform, best first: itself, the variants below it that its processors run as well, then the 32-bit
 * architecture that comes with it.
 *
 * @see containerd, platforms/compare.go, `platformVector`
 */
export function compatiblePlatforms(wanted: Platform): Platform[] {
  const { architecture, variant, ...rest } = normalisePlatform(wanted)
  const own = variants(architecture, variant).map((each) => [architecture, each] as const)
  return [...own, ...(NARROWER[architecture] ?? [])].map(([name, each]) =>
    normalisePlatform({ ...rest, architecture: name, ...(each === undefined ? {} : { variant: each }) }),
  )
}

const NARROWER: Readonly<Record<string, readonly (readonly [architecture: string, variant?: string])[]>> = {
  amd64: [['386']],
  arm64: ['v8', 'v7', 'v6', 'v5'].map((variant) => ['arm', variant]),
}

function variants(architecture: string, variant: string | undefined): (string | undefined)[] {
  const down = (from: number, to: number) =>
    Array.from({ length: Math.max(0, from - to + 1) }, (_, step) => `v${from - step}`)
  const [, major = '', minor] = /^v(\d{1,2})(?:\.(\d{1,2}))?$/.exec(variant ?? '') ?? []
  if (architecture === 'arm' && major !== '' && minor === undefined) return down(Number(major), 5)
  if (architecture === 'amd64' && major !== '' && minor === undefined) return down(Number(major), 1)
  if (architecture !== 'arm64' || major === '') return [variant]
  // v9.N has all that v8.(N + 5) has. Arm Architecture Reference Manual, "Armv9-A architecture extensions".
  const at = Number(minor ?? 0)
  const below = (version: string, from: number) =>
    Array.from({ length: from + 1 }, (_, step) => (from === step ? version : `${version}.${from - step}`))
  if (major === '9') return [...below('v9', at), ...below('v8', Math.min(at + 5, 9))]
  return major === '8' ? below('v8', at) : [variant]
}

interface Listed {
  platform?: Platform | undefined
}

/**
 * The manifests of an index that suit a platform, the best first: of equal ones in their order, and those that name no
 * platform last, as only their documents tell.
 */
export function suitableManifests<T extends Listed>(manifests: readonly T[], wanted: Platform): T[] {
  const named = compatiblePlatforms(wanted).flatMap((compatible) => {
    const same = manifests.filter(({ platform }) => platform && samePlatform(normalisePlatform(platform), compatible))
    return same.sort((a, b) => closeness(b, compatible) - closeness(a, compatible))
  })
  return [...named, ...manifests.filter(({ platform }) => platform === undefined)]
}

/** @throws PurserError not_found, listing the platforms there are */
export function selectManifest<T extends Listed>(manifests: readonly T[], wanted: Platform): T {
  const [best] = suitableManifests(manifests, wanted)
  if (best) return best
  throw noSuchPlatform(manifests, wanted)
}

export function noSuchPlatform(manifests: readonly Listed[], wanted: Platform): PurserError {
  // Attestations beside the images are marked unknown/unknown: nobody can ask for those.
  const there = manifests.flatMap(({ platform }) =>
    platform && platform.os !== 'unknown' ? [formatPlatform(normalisePlatform(platform))] : [],
  )
  const listed = there.length === 0 ? 'it has none' : `it has ${[...new Set(there)].slice(0, 40).join(', ')}`
  return new PurserError(
    'not_found',
    `the image has no manifest for ${formatPlatform(normalisePlatform(wanted))}: ${listed}`,
    { remedy: there.length === 0 ? 'use another image' : 'ask for one of these with --platform, or use another image' },
  )
}

/** What is made for another version of the OS than there is does not run. */
export function samePlatform(offered: Platform, wanted: Platform): boolean {
  const { osVersion } = wanted
  return (
    offered.os === wanted.os &&
    offered.architecture === wanted.architecture &&
    offered.variant === wanted.variant &&
    (osVersion === undefined || offered.osVersion === undefined || buildOf(offered.osVersion) === buildOf(osVersion))
  )
}

/** Containers run where the first three numbers are those of the host. @see containerd, platforms/platform_windows_compat.go */
const buildOf = (osVersion: string): string => osVersion.split('.').slice(0, 3).join('.')

const closeness = ({ platform }: Listed, wanted: Platform): number =>
  wanted.osVersion !== undefined && platform?.osVersion === wanted.osVersion ? 1 : 0
