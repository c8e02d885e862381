import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Candidate, FairShare } from '../../../src/sagas/jobs/fair-share.ts'

let submissions = 0
const candidate = (namespace: string, more: Partial<Candidate> = {}): Candidate => {
  const order = String(submissions++).padStart(9, '0')
  return { namespace, id: `j${order}`, priority: 100, order, ...more }
}
const shareOf = (places: number, weights: Readonly<Record<string, number>> = {}) =>
  new FairShare({ places, weightOf: (namespace) => weights[namespace] ?? 1 })

const namespaces = fc.constantFrom('a', 'b', 'c')
const jobs = fc.record({
  namespace: namespaces,
  priority: fc.constantFrom(1, 100, 200),
  group: fc.option(fc.record({ name: fc.constantFrom('g', 'h'), max: fc.constantFrom(1, 2) }), { nil: undefined }),
})
const deeds = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('submit' as const), job: jobs }),
    fc.record({ do: fc.constantFrom('take' as const, 'end' as const, 'cancel' as const), at: fc.nat(50) }),
  ),
  { maxLength: 80 },
)

test('whatever comes and goes, no cap is passed, and each job that is not cancelled gets a place once', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), deeds, (places, happens) => {
      const share = shareOf(places)
      const waiting = new Map<string, Candidate>()
      const running = new Map<string, Candidate>()
      const taken = new Set<string>()
      const take = () => {
        const next = share.take()
        if (next === undefined) return false
        assert.ok(waiting.delete(next.id), 'it waited')
        assert.ok(!taken.has(next.id), 'it gets a place once')
        taken.add(next.id)
        running.set(next.id, next)
        assert.ok(running.size <= places)
        const { namespace, group } = next
        const equal = [...running.values()].filter(
          (each) => each.namespace === namespace && each.group?.name === group?.name,
        )
        if (group) assert.ok(equal.length <= group.max, `${equal.length} of group ${group.name}`)
        return true
      }
      const end = (id: string | undefined) => {
        const ended = id === undefined ? undefined : (running.get(id) ?? waiting.get(id))
        if (!ended) return
        running.delete(ended.id)
        waiting.delete(ended.id)
        assert.ok(share.remove(ended.namespace, ended.id))
      }
      for (const deed of happens) {
        if (deed.do === 'submit') {
          const { group, ...job } = deed.job
          const made = candidate(job.namespace, { ...job, ...(group ? { group } : {}) })
          waiting.set(made.id, made)
          share.wait(made)
        } else if (deed.do === 'take') take()
        else end([...(deed.do === 'end' ? running : waiting).keys()][deed.at])
        assert.deepEqual([share.waiting, share.running], [waiting.size, running.size])
      }
      while (waiting.size > 0) {
        while (take());
        assert.ok(running.size > 0, 'a place stays empty though somebody may have it')
        end(running.keys().next().value)
      }
    }),
    { numRuns: 300 },
  )
})

test('while all want more, no namespace has more places than its share, whichever of their jobs end', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.array(fc.nat(8), { maxLength: 60 }), (places, ends) => {
      const share = shareOf(places)
      for (const namespace of ['a', 'a', 'b', 'c']) for (let n = 0; n < 100; n++) share.wait(candidate(namespace))
      const running: Candidate[] = []
      const fill = () => {
        for (let next = share.take(); next; next = share.take()) running.push(next)
        assert.equal(running.length, places)
        for (const namespace of ['a', 'b', 'c'])
          assert.ok(running.filter((each) => each.namespace === namespace).length <= Math.ceil(places / 3))
      }
      fill()
      for (const at of ends) {
        const [ended] = running.splice(at % running.length, 1)
        if (ended) share.remove(ended.namespace, ended.id)
        fill()
      }
    }),
  )
})

/** Who gets a place when there is one, one job after the other. */
function turns(share: FairShare, count: number): string[] {
  return Array.from({ length: count }, () => {
    const next = share.take()
    assert.ok(next)
    share.remove(next.namespace, next.id)
    return next.namespace
  })
}

test('with one place namespaces take turns, by their weights', () => {
  const equal = shareOf(1)
  for (let n = 0; n < 50; n++) equal.wait(candidate('crowd'))
  equal.wait(candidate('late'))
  equal.wait(candidate('late'))
  assert.deepEqual(turns(equal, 6), ['crowd', 'late', 'crowd', 'late', 'crowd', 'crowd'])

  fc.assert(
    fc.property(fc.array(fc.constantFrom(1, 2, 3, 0.5), { minLength: 2, maxLength: 4 }), (given) => {
      const weights = Object.fromEntries(given.map((weight, index) => [`n${index}`, weight]))
      const share = shareOf(1, weights)
      for (const namespace of Object.keys(weights)) for (let n = 0; n < 100; n++) share.wait(candidate(namespace))
      const counts = new Map<string, number>()
      for (const namespace of turns(share, 60)) counts.set(namespace, (counts.get(namespace) ?? 0) + 1)
      const served = Object.entries(weights).map(([name, weight]) => (counts.get(name) ?? 0) / weight)
      const slack = 2 / Math.min(...given)
      assert.ok(Math.max(...served) - Math.min(...served) <= slack, JSON.stringify([weights, [...counts]]))
    }),
  )
})

test('who was away is owed nothing for it', () => {
  const share = shareOf(1)
  for (let n = 0; n < 50; n++) share.wait(candidate('busy'))
  turns(share, 30)
  for (let n = 0; n < 50; n++) share.wait(candidate('back'))
  const next = turns(share, 10)
  assert.equal(next.filter((namespace) => namespace === 'back').length, 5)
})

test('within a namespace the most urgent goes first, of equal ones the oldest; one that failed keeps its age', () => {
  const share = shareOf(1)
  const [old, young, urgent] = [candidate('a'), candidate('a'), candidate('a', { priority: 1 })]
  for (const each of [young, old, urgent]) share.wait(each)
  assert.equal(share.take()?.id, urgent.id)
  share.remove('a', urgent.id)
  assert.equal(share.take()?.id, old.id)
  share.wait(old)
  assert.equal(share.running, 0, 'it has given its place back')
  assert.equal(share.take()?.id, old.id)
})

test('a group that has no room holds up nobody else, and tells who came before', () => {
  const share = shareOf(8)
  const group = { name: 'deploy', max: 1 }
  const [first, second, free] = [candidate('a', { group }), candidate('a', { group }), candidate('a')]
  const elsewhere = candidate('b', { group })
  for (const each of [first, second, free, elsewhere]) share.wait(each)
  const taken = Array.from({ length: 3 }, () => share.take()?.id)
  assert.deepEqual(taken.sort(), [first.id, free.id, elsewhere.id].sort())
  assert.equal(share.take(), undefined)
  const third = candidate('a', { group })
  share.wait(third)
  assert.deepEqual(share.olderOfGroup(third), [first.id, second.id])
  share.remove('a', first.id)
  assert.equal(share.take()?.id, second.id)
})

test('ten thousand wait and are served without being looked through for each', () => {
  for (const groups of [0, 10, 10_000]) {
    const share = shareOf(4)
    const begunAt = performance.now()
    for (let n = 0; n < 10_000; n++) {
      const group = groups === 0 ? {} : { group: { name: `g${n % groups}`, max: 1 } }
      share.wait(candidate(`n${n % 7}`, { priority: 1 + (n % 3), ...group }))
    }
    let served = 0
    for (let next = share.take(); next; next = share.take(), served++) share.remove(next.namespace, next.id)
    assert.equal(served, 10_000)
    const ms = performance.now() - begunAt
    assert.ok(ms < 5000, `${groups} groups: ${Math.round(ms)} ms`)
  }
})

test('a job that waits is told who runs, who goes before it, and whether its group is full', () => {
  const share = shareOf(1)
  const group = { name: 'g', max: 1 }
  const [one, two, late] = [candidate('a', { group }), candidate('a', { group }), candidate('a', { priority: 200 })]
  for (const each of [one, two, late, candidate('b')]) share.wait(each)
  assert.deepEqual(share.turnOf('a', late.id), {
    running: 0,
    places: 1,
    runningOfNamespace: 0,
    ahead: 1,
    othersWaiting: 1,
  })
  assert.equal(share.take(), one)
  assert.equal(share.turnOf('a', one.id), undefined, 'it runs')
  const turn = share.turnOf('a', two.id)
  assert.deepEqual([turn?.ahead, turn?.fullGroup], [0, { ...group, running: 1 }])
})
