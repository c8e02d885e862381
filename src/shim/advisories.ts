import { comparePackageVersions, upstreamOf } from './package-version.ts'

/** A known way out of a container. */
interface Advisory {
  id: string
  what: string
  /** First versions without it, of each branch that was mended. */
  fixed: readonly string[]
  /** Packages of Debian that have the fix in an older version. */
  backported: readonly string[]
  /**
   * Of a package that is older than all these and whose changelog does not tell of the fix: whether there is one to be
   * had. Where there may be none, to refuse it would leave nothing to run.
   */
  otherPackages: 'refuse' | 'warn'
}

/** @see github.com/opencontainers/runc/security/advisories; security-tracker.debian.org */
const RUNC: readonly Advisory[] = [
  {
    id: 'CVE-2024-21626',
    what: 'an image reaches the host through a descriptor that is left open',
    fixed: ['1.1.12'],
    backported: ['1.0.0~rc6+dfsg1-3+deb10u3', '1.0.0~rc93+ds1-5+deb11u3', '1.1.5+ds1-1+deb12u1'],
    otherPackages: 'refuse',
  },
  ...[
    ['CVE-2025-31133', 'a container races the masking of paths, and writes to /proc'],
    ['CVE-2025-52565', 'a container races the mount of its console, and writes to /proc'],
    ['CVE-2025-52881', 'a container redirects what runc writes to /proc'],
  ].map(
    ([id = '', what = '']): Advisory => ({
      id,
      what,
      fixed: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
      backported: [],
      otherPackages: 'warn',
    }),
  ),
]

/** A build of an OCI runtime, as far as it can be told. */
export interface RuntimeBuild {
  /** As it says itself: `1.1.5+ds1`. */
  version: string
  /** Of the package of a distributor that it comes from: `1.1.5+ds1-1+deb12u1`. */
  package: string | undefined
  /** Of that package. */
  changelog: string | undefined
}

export interface Finding {
  grade: 'refuse' | 'warn'
  reason: string
}

/** What is known against a build of runc. */
export function findingsOfRunc(build: RuntimeBuild): Finding[] {
  return RUNC.flatMap((advisory) => findingOf(advisory, build) ?? [])
}

function findingOf(advisory: Advisory, build: RuntimeBuild): Finding | undefined {
  const { id, what, fixed, backported, otherPackages } = advisory
  if (isFixedUpstream(build.version, fixed)) return undefined
  const since = fixed.join(', ')
  if (build.package === undefined)
    return { grade: 'refuse', reason: `runc ${build.version} has ${id} (${what}), mended in ${since}` }
  const installed = build.package
  if (build.changelog?.includes(id)) return undefined
  const ofItsRelease = backported.find((version) => upstreamOf(version) === upstreamOf(installed))
  if (ofItsRelease !== undefined) {
    if (comparePackageVersions(installed, ofItsRelease) >= 0) return undefined
    return { grade: 'refuse', reason: `package runc ${installed} has ${id} (${what}), mended in ${ofItsRelease}` }
  }
  // Without its changelog a package may have the fix, and nobody could tell.
  const grade = build.changelog === undefined ? 'warn' : otherPackages
  return { grade, reason: `package runc ${installed} does not tell that it mends ${id} (${what}), mended in ${since}` }
}

/** Whether a version is one of those that were mended, or came after them. Unknown ones are not. */
function isFixedUpstream(version: string, fixed: readonly string[]): boolean {
  const found = numbersOf(version)
  if (found === undefined) return false
  const mended = fixed.flatMap((each) => numbersOf(each) ?? [])
  const ofItsBranch = mended.find(({ major, minor }) => major === found.major && minor === found.minor)
  if (ofItsBranch) return compare(found, ofItsBranch) >= 0
  return mended.every((each) => compare(found, each) > 0)
}

interface Numbers {
  major: number
  minor: number
  patch: number
  /** Of a candidate; infinite for the release itself. */
  candidate: number
}

const compare = (one: Numbers, other: Numbers): number =>
  one.major - other.major || one.minor - other.minor || one.patch - other.patch || compareCandidates(one, other)

const compareCandidates = (one: Numbers, other: Numbers): number =>
  one.candidate === other.candidate ? 0 : one.candidate - other.candidate

/** `1.4.0-rc.3`, `1.0.0~rc93+ds1`, `1.1.5+ds1`. */
function numbersOf(version: string): Numbers | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(?:[-~]rc\.?(\d+))?/.exec(version)
  if (!match) return undefined
  const [, major, minor, patch, candidate] = match
  return {
    major: Number(major),
    minor: Number(minor),
    patch: Number(patch),
    candidate: candidate === undefined ? Number.POSITIVE_INFINITY : Number(candidate),
  }
}
