import { audit } from '../../src/projections/audit/audit.ts'
import type { AuditFilter } from '../../src/projections/audit/query.ts'
import { mixEvents } from './archived.ts'
import { quantile } from './statistics.ts'

const BATCH = 500
const TIMES = 15

/** Milliseconds of each question, at its median and its worst. */
export interface AuditTimes {
  rows: number
  eventsPerSecond: number
  questions: { what: string; medianMs: number; worstMs: number }[]
}

/** Fills an audit trail from events of the run mix, and asks it for pages of 100 rows. */
export async function auditTimes(dir: string, rows: number): Promise<AuditTimes> {
  await using store = await audit.open(dir)
  const folds = new Set(audit.folds)
  let events = 0
  let known = 0
  let batch = []
  const begunAt = performance.now()
  for (const event of mixEvents(2)) {
    // Commands begin and end within moments: leaving out that they began changes no row.
    if (!folds.has(event.type) || event.type === 'command.started') continue
    if (event.type === 'command.accepted' || !event.type.startsWith('command.')) known += 1
    batch.push(event)
    events += 1
    if (batch.length < BATCH) continue
    store.fold(batch, event.position)
    batch = []
    if (known >= rows) break
  }
  const eventsPerSecond = (events / (performance.now() - begunAt)) * 1000

  const page = { order: 'newest', limit: 100 } as const
  const middle = Math.floor(store.checkpoint / 2)
  const row = store.page({ ...page, cursor: String(middle), outcome: 'succeeded', action: 'container.run' }).items[0]
  if (row?.command === undefined) throw new Error('the audit trail is not as this benchmark expects it')
  const since = middle - 100_000
  const filters: [string, Partial<AuditFilter>][] = [
    ['no filter', {}],
    ['no filter, cursor in the middle', { cursor: String(middle) }],
    ['no filter, oldest first, cursor near the end', { order: 'oldest', cursor: String(store.checkpoint - 50) }],
    ['subject', { subject: row.subject }],
    ['subject of any kind', { subject: row.subject.replace(/^[^/]*/, '*') }],
    ['subject, glob that few match', { subject: 'container/job-2-77777*' }],
    ['subject, glob that none matches', { subject: '*no-such-thing*' }],
    ['action', { action: 'task.exec' }],
    ['action, glob', { action: 'snapshot.*' }],
    ['namespace', { namespace: 'ci' }],
    ['namespace that is not there', { namespace: 'nobody' }],
    ['actor', { actor: row.actor }],
    ['actor, glob that none matches', { actor: '*exe=/usr/bin/nobody' }],
    ['uid', { uid: 998 }],
    ['executable', { executable: '/usr/local/bin/runner' }],
    ['surface', { surface: 'http' }],
    ['surface that is not there', { surface: 'grpc' }],
    ['outcome', { outcome: 'failed' }],
    ['outcome, most rows', { outcome: 'succeeded', cursor: String(middle) }],
    ['code', { code: 'already_exists' }],
    ['code that is not there', { code: 'data_loss' }],
    ['command', { command: row.command }],
    ['correlation', { correlation: row.correlation ?? row.command }],
    ['slower than most', { slowerThanMs: 79_999 }],
    ['slower than all but few', { slowerThanMs: 79.999 }],
    ['range of positions', { after: since, through: middle }],
    ['word that most have', { text: 'container' }],
    ['word that most have, cursor in the middle', { text: 'container', cursor: String(middle) }],
    ['word that few have', { text: row.subject.slice('container/'.length) }],
    ['beginning of a word', { text: 'job-2-777*' }],
    ['words of error messages', { text: 'exists in namespace' }],
    ['word that none has', { text: 'nosuchword' }],
    ['words and outcome', { text: 'container', outcome: 'failed' }],
    ['words and a subject that few have', { text: 'task', subject: row.subject.replace('container', 'task') }],
    ['words and namespace that is not there', { text: 'container', namespace: 'nobody' }],
    ['action and outcome', { action: 'container.run', outcome: 'failed' }],
    ['action and outcome that never meet', { action: 'snapshot.prepare', outcome: 'failed' }],
    ['uid and code', { uid: 1000, code: 'already_exists' }],
    ['namespace and executable, deep', { namespace: 'ci', executable: '/usr/bin/node', cursor: String(middle) }],
    ['uid and executable that never meet', { uid: 998, executable: '/usr/bin/node' }],
    ['namespace, actor, outcome and range', { namespace: 'ci', actor: row.actor, outcome: 'failed', after: since }],
    ['surface and action that never meet', { surface: 'http', action: 'task.create' }],
  ]
  const questions = filters.map(([what, filter]) => {
    const times: number[] = []
    for (let time = 0; time < TIMES; time += 1) {
      const askedAt = performance.now()
      store.page({ ...page, ...filter })
      times.push(performance.now() - askedAt)
    }
    return { what, medianMs: quantile(times, 0.5), worstMs: Math.max(...times) }
  })
  return { rows: known, eventsPerSecond, questions }
}
