import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DemandMeter, idleWanted } from '../../../src/workers/task/pool/sizing.ts'

const NO_DEMAND = { claimsPerSecond: 0, warmSeconds: 1 }

/** Share of the claims that find a task of n ready, by simulation: each claim takes one and has it replaced. */
function simulatedHits(n: number, claimsPerSecond: number, warmSeconds: number): number {
  let seed = 7
  const random = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return (seed + 0.5) / 2 ** 31
  }
  const replacements: number[] = []
  let now = 0
  let hits = 0
  const claims = 50_000
  for (let claim = 0; claim < claims; claim++) {
    now -= Math.log(random()) / claimsPerSecond
    while ((replacements[0] ?? Number.POSITIVE_INFINITY) <= now) replacements.shift()
    if (replacements.length < n) hits += 1
    replacements.push(now + warmSeconds) // A claim that finds none starts one of its own, and one is missing all the same.
  }
  return hits / claims
}

test('without a wanted share of hits the pool keeps its size, whatever comes', () => {
  assert.equal(idleWanted({ min: 3 }, { claimsPerSecond: 100, warmSeconds: 1 }), 3)
  assert.equal(idleWanted({ min: 3, max: 9 }, { claimsPerSecond: 100, warmSeconds: 1 }), 3)
})

test('the size stays between min and max, and grows with demand', () => {
  const rates = fc.double({ min: 0, max: 200, noNaN: true })
  const ratios = fc.double({ min: 0.01, max: 0.999, noNaN: true })
  fc.assert(
    fc.property(rates, rates, ratios, fc.nat(20), fc.nat(200), (a, b, hitRatio, min, more) => {
      const sizing = { min, max: min + more, hitRatio }
      const small = idleWanted(sizing, { claimsPerSecond: Math.min(a, b), warmSeconds: 1 })
      const large = idleWanted(sizing, { claimsPerSecond: Math.max(a, b), warmSeconds: 1 })
      assert.ok(min <= small && small <= large && large <= min + more)
    }),
  )
  assert.equal(idleWanted({ min: 0, max: 10, hitRatio: 0.9 }, NO_DEMAND), 1)
})

test('the wanted share of claims finds a task ready, and one task less would not do', () => {
  for (const [claimsPerSecond, warmSeconds, hitRatio] of [
    [1, 0.5, 0.9],
    [20, 0.4, 0.95],
    [50, 1, 0.99],
  ] as const) {
    const n = idleWanted({ min: 0, max: 1000, hitRatio }, { claimsPerSecond, warmSeconds })
    assert.ok(simulatedHits(n, claimsPerSecond, warmSeconds) >= hitRatio - 0.01, `${n} at ${claimsPerSecond}/s`)
    assert.ok(simulatedHits(n - 1, claimsPerSecond, warmSeconds) < hitRatio + 0.01, `${n - 1} at ${claimsPerSecond}/s`)
  }
})

test('a burst counts at once, and is not forgotten at once', () => {
  const meter = new DemandMeter()
  for (const ms of [400, 200, 300]) meter.warmed(ms)
  for (let claim = 0; claim < 50; claim++) meter.arrived(1000 + 100 * claim)
  assert.deepEqual(meter.demand(6000), { claimsPerSecond: 5, warmSeconds: 0.3 })
  assert.equal(meter.demand(40_000).claimsPerSecond, 50 / 60)
  assert.equal(meter.demand(10_000_000).claimsPerSecond, 0)
})

test('claims are a burst while they come faster than tasks become ready, and never longer than 20 ms after the last', () => {
  const meter = new DemandMeter()
  assert.ok(meter.burstLeftMs(0, 2) <= 0, 'there was no claim')
  meter.arrived(1000)
  assert.equal(meter.burstLeftMs(1005, 2), 15)
  assert.equal(meter.burstLeftMs(1020, 2), 0)
  meter.warmed(40)
  assert.equal(meter.burstLeftMs(1005, 2), 15, 'two in 40 ms: as fast as claims every 20 ms')
  assert.equal(meter.burstLeftMs(1005, 4), 5, 'four in 40 ms keep up with claims every 10 ms')
})
