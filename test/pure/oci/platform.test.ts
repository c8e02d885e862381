import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  compatiblePlatforms,
  formatPlatform,
  hostPlatform,
  type Platform,
  parsePlatform,
  selectManifest,
} from '../../../src/oci/platform.ts'

const host = { os: 'linux', architecture: 'amd64' }
const normal = (text: string) => formatPlatform(parsePlatform(text, host))

test('a platform has one name', () => {
  const expected: Record<string, string> = {
    'linux/amd64': 'linux/amd64',
    'Linux/x86_64': 'linux/amd64',
    'linux/amd64/v1': 'linux/amd64',
    'linux/amd64/v3': 'linux/amd64/v3',
    'linux/aarch64': 'linux/arm64',
    'linux/arm64/v8': 'linux/arm64',
    'linux/arm64/8': 'linux/arm64',
    'linux/arm': 'linux/arm/v7',
    'linux/arm/6': 'linux/arm/v6',
    'linux/armhf': 'linux/arm/v7',
    'linux/armel': 'linux/arm/v6',
    'linux/i386': 'linux/386',
    arm64: 'linux/arm64',
    linux: 'linux/amd64',
    windows: 'windows/amd64',
    'macos/arm64': 'darwin/arm64',
    'windows(10.0.17763.1)/amd64': 'windows(10.0.17763.1)/amd64',
  }
  for (const [text, name] of Object.entries(expected)) assert.equal(normal(text), name, text)
  assert.equal(hostPlatform().os, 'linux')
})

test('a malformed platform is refused by name', () => {
  for (const text of ['', '/', 'linux/', 'linux//v7', 'a/b/c/d', 'linux/a b']) {
    assert.throws(() => parsePlatform(text, host), { code: 'invalid_argument', message: /is not a platform/ }, text)
  }
})

test('a variant falls back to the ones below it, then to the 32-bit architecture, as containerd has it', () => {
  const below = (text: string) => compatiblePlatforms(parsePlatform(text, host)).map(formatPlatform)
  assert.deepEqual(below('linux/arm/v7'), ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5'])
  const arm = ['v8', 'v7', 'v6', 'v5'].map((variant) => `linux/arm/${variant}`)
  assert.deepEqual(below('linux/amd64'), ['linux/amd64', 'linux/386'])
  assert.deepEqual(below('linux/amd64/v3'), ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64', 'linux/386'])
  assert.deepEqual(below('linux/arm64'), ['linux/arm64', ...arm])
  assert.deepEqual(below('linux/arm64/v8.1'), ['linux/arm64/v8.1', 'linux/arm64', ...arm])
  assert.deepEqual(below('linux/riscv64'), ['linux/riscv64'])
})

const manifest = (name: string, text?: string): { name: string; platform?: Platform } => ({
  name,
  ...(text ? { platform: parsePlatform(text, host) } : {}),
})
const choose = (manifests: ReturnType<typeof manifest>[], text: string) =>
  selectManifest(manifests, parsePlatform(text, host)).name

test('the best manifest of an index is chosen, the first of equal ones', () => {
  const index = [
    manifest('v6', 'linux/arm/v6'),
    manifest('attestation', 'unknown/unknown'),
    manifest('v5', 'linux/arm/v5'),
    { name: 'arm64', platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
    manifest('amd64', 'linux/amd64'),
    manifest('amd64 again', 'linux/amd64'),
  ]
  assert.equal(choose(index, 'linux/arm/v7'), 'v6')
  assert.equal(choose(index, 'linux/arm/v5'), 'v5')
  assert.equal(choose(index, 'linux/arm64'), 'arm64')
  assert.equal(choose(index, 'linux/amd64'), 'amd64')
  assert.equal(choose([manifest('any'), ...index], 'linux/amd64'), 'amd64')
  assert.equal(choose([manifest('any')], 'linux/amd64'), 'any')
})

test('of versions of an OS the same one is chosen, else one of the same build, and no other', () => {
  const windows = (name: string, osVersion: string) => ({
    name,
    platform: { os: 'windows', architecture: 'amd64', osVersion },
  })
  const index = [windows('old', '10.0.14393.1'), windows('a', '10.0.17763.1'), windows('b', '10.0.17763.2')]
  const versioned = (osVersion: string) => choose(index, `windows(${osVersion})/amd64`)
  assert.equal(versioned('10.0.17763.2'), 'b')
  assert.equal(versioned('10.0.17763.9'), 'a')
  assert.equal(choose(index, 'windows/amd64'), 'old')
  assert.throws(() => versioned('10.0.20348.1'), { code: 'not_found', message: /windows\(10\.0\.14393\.1\)\/amd64/ })
})

test('with no suitable manifest the error lists those there are', () => {
  const index = [manifest('a', 'linux/arm64'), manifest('b', 'unknown/unknown'), manifest('c', 'windows/amd64')]
  assert.throws(() => choose(index, 'linux/amd64'), {
    code: 'not_found',
    message: /linux\/amd64: it has linux\/arm64, windows\/amd64$/,
    remedy: /--platform/,
  })
  assert.throws(() => choose([], 'linux/amd64'), { code: 'not_found', message: /it has none/ })
})
