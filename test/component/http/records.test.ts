import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { z } from 'zod'
import { type Api, startApi } from '../../support/http.ts'

const DIGEST = `sha256:${'0'.repeat(64)}`
const page = z.strictObject({ items: z.array(z.looseObject({})), next: z.string().optional() })
type Page = z.output<typeof page>

describe('lists and gets', () => {
  let api: Api
  before(async () => {
    api = await startApi()
  })
  after(() => api[Symbol.asyncDispose]())

  async function submit(type: string, subject: string, payload: object, namespace: string): Promise<void> {
    const headers = { 'purser-namespace': namespace, prefer: 'wait=5' }
    const answer = await api.http('POST', '/v1/commands', { type, subject, payload }, headers)
    assert.equal(answer.status, 200, answer.text)
  }
  const add = (id: string, namespace: string, labels: Record<string, string> = {}): Promise<void> =>
    submit(
      'container.create',
      id,
      {
        image: 'busybox',
        manifest: DIGEST,
        config: DIGEST,
        snapshotter: 'overlayfs',
        snapshotKey: id,
        runtime: 'runc',
        options: {},
        labels,
        onExit: 'keep',
      },
      namespace,
    )
  // As its worker ends it.
  const remove = (id: string, namespace: string) =>
    api.facts([{ aggregate: 'container', id, type: 'container.deleted', data: {} }], undefined, namespace)
  const list = async (query: string, kind = 'containers'): Promise<Page> => {
    const answer = await api.http('GET', `/v1/${kind}?${query}`)
    assert.equal(answer.status, 200, answer.text)
    return page.parse(answer.json)
  }
  const ids = ({ items }: Page) => items.map(({ id }) => id)

  test('every list is there when nothing is in it', async () => {
    for (const kind of ['images', 'containers', 'tasks', 'snapshots', 'content', 'commands']) {
      assert.deepEqual(await list('namespace=empty', kind), { items: [] })
    }
  })

  test('a list shows each record as it is now, also after it was shown as it was before', async () => {
    await add('c1', 'changing', { step: '1' })
    await add('c2', 'changing')
    const shown = async () => (await list('namespace=changing')).items
    const before = await shown()
    assert.deepEqual(await shown(), before)
    const one = async (id: string) => (await api.http('GET', `/v1/containers/${id}?namespace=changing`)).json
    assert.deepEqual(before, [await one('c1'), await one('c2')])
    await api.facts(
      [{ aggregate: 'task', id: 'c1', type: 'task.creating', data: { runtime: 'runc' } }],
      undefined,
      'changing',
    )
    await api.facts(
      [{ aggregate: 'task', id: 'c1', type: 'task.created', data: { pid: 7, stopSignal: 15 } }],
      undefined,
      'changing',
    )
    const after = await shown()
    assert.deepEqual(after, [await one('c1'), await one('c2')])
    assert.notDeepEqual(after[0], before[0], 'its task is shown with it')
    await remove('c1', 'changing')
    await add('c1', 'changing', { step: '2' })
    assert.deepEqual(await shown(), [await one('c1'), await one('c2')])
  })

  test('labels filter by presence, by value and by another value; all must hold', async () => {
    await add('plain', 'labels')
    await add('web1', 'labels', { role: 'web', tier: '1' })
    await add('web2', 'labels', { role: 'web', tier: '2' })
    await add('odd', 'labels', { formula: 'a!=b', 'k!': 'v', empty: '' })
    const matching = async (...labels: string[]) =>
      ids(await list(`namespace=labels&${labels.map((label) => `label=${encodeURIComponent(label)}`).join('&')}`))
    assert.deepEqual(await matching('role'), ['web1', 'web2'])
    assert.deepEqual(await matching('role=web', 'tier=2'), ['web2'])
    assert.deepEqual(await matching('role=web', 'tier!=2'), ['web1'])
    assert.deepEqual(await matching('role!=web'), ['odd', 'plain'])
    assert.deepEqual(await matching('role=db'), [])
    assert.deepEqual(await matching('formula=a!=b'), ['odd'])
    assert.deepEqual(await matching('empty'), ['odd'])
    assert.deepEqual(await matching('empty='), ['odd'])
    assert.deepEqual(await matching('constructor'), [])
    assert.deepEqual(await matching('toString!=x', 'role'), ['web1', 'web2'])
  })

  test('filters and pages go together', async () => {
    for (let index = 0; index < 9; index++) await add(`p${index}`, 'filtered', { odd: String(index % 2) })
    const first = await list('namespace=filtered&label=odd=1&limit=3')
    assert.deepEqual(ids(first), ['p1', 'p3', 'p5'])
    const second = await list(`namespace=filtered&label=odd=1&limit=3&cursor=${first.next}`)
    assert.deepEqual([ids(second), second.next], [['p7'], undefined])
    // A page that is just full has no next.
    assert.equal((await list('namespace=filtered&label=odd=1&limit=4')).next, undefined)
  })

  test('while items come and go, pages bring each that stayed, once', async () => {
    const stays = Array.from({ length: 60 }, (_, index) => `s${String(index).padStart(2, '0')}`)
    for (const id of stays) await add(id, 'moving')
    for (const id of ['a0', 'm0', 's30x']) await add(id, 'moving')
    const seen: unknown[] = []
    let cursor = ''
    for (let round = 0; ; round++) {
      const { next, ...found } = await list(`namespace=moving&limit=7${cursor}`)
      seen.push(...ids(found))
      const last = String(seen.at(-1))
      if (round === 0) await remove('a0', 'moving') // before the cursor, and seen
      if (round === 2) await remove('s30x', 'moving') // after it
      await add(`${last}-new${round}`, 'moving') // right behind the cursor
      await add(`aa${round}`, 'moving') // before it
      if (last.startsWith('s') && round === 4) await remove(last, 'moving').catch(() => {}) // the cursor's own item
      if (next === undefined) break
      cursor = `&cursor=${next}`
    }
    assert.equal(new Set(seen).size, seen.length)
    for (const id of stays) assert.ok(seen.includes(id), id)
    assert.deepEqual(seen, [...seen].sort())
    assert.ok(!seen.includes('s30x'))
  })

  test('of a namespace nobody sees another one’s', async () => {
    await add('mine', 'one')
    await add('theirs', 'two')
    assert.deepEqual(ids(await list('namespace=one')), ['mine'])
    assert.equal((await api.http('GET', '/v1/containers/theirs?namespace=one')).status, 404)
    const both = await api.http('GET', '/v1/containers/mine?namespace=one', undefined, { 'purser-namespace': 'two' })
    assert.equal(both.status, 200) // The query wins.
    const names = (await list('', 'namespaces')).items.map(({ name }) => name)
    assert.ok(names.includes('one') && names.includes('two'))
    assert.deepEqual(names, [...names].sort())
    assert.equal((await api.http('GET', '/v1/namespaces/one')).status, 200)
  })

  test('a container is found by a unique beginning of its id; several are named, and the whole id always counts', async () => {
    for (const id of ['abc', 'abcd', 'abx', 'b1']) await add(id, 'prefix')
    const get = (id: string) => api.http('GET', `/v1/containers/${id}?namespace=prefix`)
    const idOf = async (id: string) => z.looseObject({ id: z.string() }).parse((await get(id)).json).id
    assert.equal(await idOf('b'), 'b1')
    assert.equal(await idOf('abcd'), 'abcd')
    assert.equal(await idOf('abc'), 'abc')
    assert.equal(await idOf('abx'), 'abx')
    const ambiguous = await get('ab')
    assert.equal(ambiguous.status, 400)
    assert.match(ambiguous.text, /could be one of several containers: abc, abcd, abx"/)
    assert.equal((await get('c')).status, 404)
    await remove('b1', 'prefix')
    assert.equal((await get('b')).status, 404)
    for (let index = 0; index < 9; index++) await add(`many${index}`, 'prefix')
    assert.match((await get('many')).text, /many0, many1, many2, many3, many4 …/)
    assert.equal((await api.http('GET', '/v1/tasks/abx?namespace=prefix')).status, 404)
    assert.equal((await api.http('GET', '/v1/containers/ab/logs?namespace=prefix')).status, 400)
  })

  test('what is not there is a 404 with a remedy, of each kind', async () => {
    for (const path of [
      '/v1/images/nosuch',
      '/v1/images/localhost:5000%2Fa%2Fb:v1',
      '/v1/containers/nosuch',
      '/v1/tasks/nosuch',
      '/v1/snapshots/overlayfs/nosuch',
      '/v1/snapshots/nosuch/nosuch',
      `/v1/content/${DIGEST}`,
      '/v1/namespaces/nosuch',
      '/v1/containers/nosuch/logs',
      '/v1/containers/nosuch/wait',
    ]) {
      const answer = await api.http('GET', path)
      assert.equal(answer.status, 404, path)
      const problem = z.looseObject({ code: z.string(), remedy: z.string() }).parse(answer.json)
      assert.equal(problem.code, 'not_found')
    }
  })

  test('an answer to a command is in what is read next', async () => {
    for (let index = 0; index < 20; index++) {
      await add(`r${index}`, 'reads')
      assert.equal((await list('namespace=reads')).items.length, 1)
      await remove(`r${index}`, 'reads')
      assert.equal((await list('namespace=reads')).items.length, 0)
    }
  })
})
