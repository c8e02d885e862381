import { arch, endianness } from 'node:os'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'

/** Where an image runs, in Go's names: `linux`, `amd64`, `arm64`, `arm` with `v7`. @see image-spec, image-index.md */
export interface Platform {
  os: string
  architecture: string
  variant?: string
}

const platformWord = z.string().max(128)

export const platformSchema = z
  .object({ os: platformWord, architecture: platformWord, variant: platformWord.nullish() })
  .transform(({ os, architecture, variant }): Platform => ({ os, architecture, ...(variant ? { variant } : {}) }))

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
 * `os/architecture[/variant]`; one word alone is an OS or an architecture, and the host gives the rest.
 *
 * @throws PurserError invalid_argument
 */
export function parsePlatform(text: string, host = hostPlatform()): Platform {
  const parts = text.split('/')
  const [first = '', second, variant] = parts
  if (parts.length > 3 || parts.some((part) => !/^[A-Za-z0-9_.-]{1,64}$/.test(part))) {
    throw new PurserError('invalid_argument', `${JSON.stringify(text.slice(0, 200))} is not a platform`, {
      remedy: 'write os/architecture[/variant], such as linux/arm64 or linux/arm/v7',
    })
  }
  if (second !== undefined) {
    return normalisePlatform({ os: first, architecture: second, ...(variant === undefined ? {} : { variant }) })
  }
  const os = first.toLowerCase()
  if (KNOWN_OSES.has(OSES[os] ?? os)) return normalisePlatform({ ...host, os })
  return normalisePlatform({ os: host.os, architecture: first })
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return `${os}/${architecture}${variant === undefined ? '' : `/${variant}`}`
}

/** One name for each platform: `linux/aarch64` and `linux/arm64/v8` are both `linux/arm64`. @see containerd, platforms/database.go */
export function normalisePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase()
  const given = platform.architecture.toLowerCase()
  const [architecture, implied] = ARCHITECTURES[given] ?? [given]
  const variant = normaliseVariant(architecture, implied ?? platform.variant?.toLowerCase())
  return { os: OSES[os] ?? os, architecture, ...(variant === undefined ? {} : { variant }) }
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
 * What runs on a platform, best first: itself, then the variants below it that its processors run as well.
 *
 * @see containerd, platforms/compare.go, `platformVector`; its steps to another architecture are left out, as not every
 *   kernel and processor can do them
 */
export function compatiblePlatforms(wanted: Platform): Platform[] {
  const { os, architecture, variant } = normalisePlatform(wanted)
  const named = variants(architecture, variant)
  return named.map((each) => normalisePlatform({ os, architecture, ...(each === undefined ? {} : { variant: each }) }))
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

/**
 * The manifest of an index that suits a platform best; of equal ones the first, and one that names no platform only if
 * none that does is suitable (its configuration then tells).
 *
 * @throws PurserError not_found, listing the platforms there are
 */
export function selectManifest<T extends { platform?: Platform | undefined }>(
  manifests: readonly T[],
  wanted: Platform,
): T {
  for (const compatible of compatiblePlatforms(wanted)) {
    const found = manifests.find((each) => each.platform && samePlatform(normalisePlatform(each.platform), compatible))
    if (found) return found
  }
  const unnamed = manifests.find((each) => each.platform === undefined)
  if (unnamed) return unnamed

  // Attestations beside the images are marked unknown/unknown: nobody can ask for those.
  const there = manifests.flatMap(({ platform }) =>
    platform && platform.os !== 'unknown' ? [formatPlatform(normalisePlatform(platform))] : [],
  )
  const listed = there.length === 0 ? 'it has none' : `it has ${[...new Set(there)].slice(0, 40).join(', ')}`
  throw new PurserError(
    'not_found',
    `the image has no manifest for ${formatPlatform(normalisePlatform(wanted))}: ${listed}`,
    { remedy: there.length === 0 ? 'use another image' : 'ask for one of these with --platform, or use another image' },
  )
}

const samePlatform = (one: Platform, other: Platform): boolean =>
  one.os === other.os && one.architecture === other.architecture && one.variant === other.variant
