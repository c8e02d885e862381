import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type HealthRequest, healthCheckOf, imageHealthcheck } from '../../../src/oci/health-check.ts'
import { parseImageConfig } from '../../../src/oci/image-config.ts'

const DEFAULTS = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 5000 }
const command = (...args: string[]) => ({ type: 'exec' as const, args })

test("a check is docker's: of the image, with the caller's fields over it", () => {
  const image = imageHealthcheck.parse({ Test: ['CMD-SHELL', 'curl -f x'], Interval: 5e9, Retries: 2, Timeout: 1 })
  const ofImage = {
    ...DEFAULTS,
    probe: command('/bin/sh', '-c', 'curl -f x'),
    intervalMs: 5000,
    retries: 2,
    timeoutMs: 1,
  }
  assert.deepEqual(healthCheckOf(image, undefined), ofImage)
  assert.deepEqual(healthCheckOf(image, { retries: 9 }), { ...ofImage, retries: 9 })
  const tcp = { type: 'tcp' as const, port: 80 }
  assert.deepEqual(healthCheckOf(image, { probe: tcp }), { ...ofImage, probe: tcp })
  assert.deepEqual(healthCheckOf(undefined, { probe: tcp }), { ...DEFAULTS, probe: tcp })
})

test('there is none where nobody asks for one, or it is switched off', () => {
  const asked: HealthRequest = { probe: command('true') }
  assert.equal(healthCheckOf(undefined, undefined), undefined)
  assert.equal(healthCheckOf(undefined, { intervalMs: 1000 }), undefined)
  assert.equal(healthCheckOf(asked, { disabled: true }), undefined)
  const none = imageHealthcheck.parse({ Test: ['NONE'] })
  assert.equal(healthCheckOf(none, undefined), undefined)
  assert.deepEqual(healthCheckOf(none, asked), { ...DEFAULTS, probe: command('true') })
})

test('an image is read whatever its check is', () => {
  const config = (Healthcheck: unknown) => {
    const text = JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers' },
      config: { Healthcheck },
    })
    return parseImageConfig(Buffer.from(text)).config.healthcheck
  }
  assert.deepEqual(config({ Test: ['CMD', 'true'] }), { probe: command('true') })
  assert.deepEqual(config({ Test: ['CMD'] }), {})
  assert.equal(config(undefined), undefined)
  for (const odd of [null, 'x', { Test: 7 }, { Test: [], Interval: '1s' }]) assert.equal(config(odd), undefined)
})
