import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findingsOfRunc } from '../../../src/shim/advisories.ts'
import { comparePackageVersions } from '../../../src/shim/package-version.ts'

test('package versions are ordered as dpkg orders them', () => {
  const ascending = [
    '1.0.0~rc6+dfsg1-3+deb10u3',
    '1.0.0~rc93+ds1-5+deb11u3',
    '1.0.0-1',
    '1.1.5~ds1-1',
    '1.1.5-0ubuntu1',
    '1.1.5+ds1-1',
    '1.1.5+ds1-1+b4',
    '1.1.5+ds1-1+deb12u1',
    '1.1.5+ds1-1+deb12u2',
    '1.1.5+ds1-1+deb12u10',
    '1.1.15+ds1-2',
    '1:0.1-1',
  ]
  for (const [at, version] of ascending.entries()) {
    assert.equal(comparePackageVersions(version, version), 0)
    for (const later of ascending.slice(at + 1)) {
      assert.ok(comparePackageVersions(version, later) < 0, `${version} < ${later}`)
      assert.ok(comparePackageVersions(later, version) > 0, `${later} > ${version}`)
    }
  }
})

const CVES_2025 = ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881']

/** The ids for which a build is refused, and those of which is warned. */
function judged(version: string, installed?: string, changelog?: string) {
  const findings = findingsOfRunc({ version, package: installed, changelog })
  const ids = (grade: string) =>
    findings.filter((finding) => finding.grade === grade).map(({ reason }) => /CVE-\d+-\d+/.exec(reason)?.[0])
  return { refuse: ids('refuse'), warn: ids('warn') }
}

test("upstream's own builds are judged by their version, branch by branch", () => {
  const none = { refuse: [], warn: [] }
  const all = { refuse: ['CVE-2024-21626', ...CVES_2025], warn: [] }
  const those2025 = { refuse: CVES_2025, warn: [] }
  for (const version of ['1.0.3', '1.1.11', '1.1.0-rc.1', 'unknown']) assert.deepEqual(judged(version), all, version)
  for (const version of ['1.1.12', '1.1.15', '1.2.0', '1.2.7', '1.3.0', '1.3.2', '1.4.0-rc.1', '1.4.0-rc.2'])
    assert.deepEqual(judged(version), those2025, version)
  for (const version of ['1.2.8', '1.2.9', '1.3.3', '1.4.0-rc.3', '1.4.0', '1.5.0', '2.0.0'])
    assert.deepEqual(judged(version), none, version)
})

test("a distributor's build is judged by the fixes of its package", () => {
  const warn2025 = { refuse: [], warn: CVES_2025 }
  assert.deepEqual(judged('1.1.5+ds1', '1.1.5+ds1-1+deb12u1', 'nothing of it'), warn2025)
  assert.deepEqual(judged('1.1.5+ds1', '1.1.5+ds1-1+deb12u2', undefined), warn2025)
  assert.deepEqual(judged('1.1.5+ds1', '1.1.5+ds1-1+deb12u2', CVES_2025.join('\n')), { refuse: [], warn: [] })
  assert.deepEqual(judged('1.0.0~rc93+ds1', '1.0.0~rc93+ds1-5+deb11u3', ''), warn2025)
  assert.deepEqual(judged('1.1.15+ds1', '1.1.15+ds1-2', ''), warn2025)
  assert.deepEqual(judged('1.3.3+ds1', '1.3.3+ds1-1', ''), { refuse: [], warn: [] })
  const before = { refuse: ['CVE-2024-21626'], warn: CVES_2025 }
  assert.deepEqual(judged('1.1.5+ds1', '1.1.5+ds1-1', ''), before)
  assert.deepEqual(judged('1.0.0~rc93+ds1', '1.0.0~rc93+ds1-5+deb11u2', ''), before)
  assert.deepEqual(judged('1.1.7-0ubuntu1', '1.1.7-0ubuntu1', 'a changelog that does not tell of it'), before)
  assert.deepEqual(judged('1.1.7-0ubuntu1', '1.1.7-0ubuntu1~22.04.2', 'CVE-2024-21626'), warn2025)
  // Whether it is mended cannot be told.
  assert.deepEqual(judged('1.1.7-0ubuntu1', '1.1.7-0ubuntu1', undefined), {
    refuse: [],
    warn: ['CVE-2024-21626', ...CVES_2025],
  })
})
