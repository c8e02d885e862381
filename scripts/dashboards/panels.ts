/** Dashboards as Grafana imports them, from little more than their queries. */

interface Query {
  expr: string
  /** `{{label}}` stands for a label's value. */
  legend?: string
}

export interface Panel {
  type: 'timeseries' | 'stat' | 'bargauge' | 'table' | 'row'
  title: string
  queries: readonly Query[]
  /** @see Grafana, "Standard options", unit */
  unit: string
  /** Of the 24 columns. */
  width: number
  /** What one should know to read it. */
  description?: string
  /** From this value on it is shown as bad; below it, where the worse is the lower. */
  bad?: { from: number } | { below: number }
}

export interface Dashboard {
  /** Of its file, and of its address in Grafana. */
  uid: string
  title: string
  description: string
  /** How far back it looks: `now-6h`. */
  from: string
  panels: readonly Panel[]
}

type More = Partial<Pick<Panel, 'unit' | 'width' | 'description' | 'bad'>>

const panel =
  (type: Panel['type'], defaults: { unit: string; width: number }) =>
  (title: string, queries: string | readonly Query[], more: More = {}): Panel => ({
    type,
    title,
    queries: typeof queries === 'string' ? [{ expr: queries }] : queries,
    ...defaults,
    ...more,
  })

export const graph = panel('timeseries', { unit: 'short', width: 8 })
export const stat = panel('stat', { unit: 'short', width: 4 })
export const bars = panel('bargauge', { unit: 'percentunit', width: 12 })
export const table = panel('table', { unit: 'short', width: 24 })
export const row = (title: string): Panel => ({ type: 'row', title, queries: [], unit: 'short', width: 24 })

const COLUMNS = 24
const HEIGHTS: Readonly<Record<Panel['type'], number>> = { timeseries: 8, stat: 4, bargauge: 8, table: 8, row: 1 }
const SOURCE = { type: 'prometheus', uid: '$' + '{datasource}' }

/** What Grafana takes under "Import dashboard". */
export function grafanaJson({ uid, title, description, from, panels }: Dashboard): string {
  const document = {
    uid,
    title,
    description,
    tags: ['purser'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from, to: 'now' },
    templating: { list: variables() },
    panels: laidOut(panels),
  }
  return `${JSON.stringify(document, null, 2)}\n`
}

function variables(): object[] {
  const query = 'label_values(purser_build_info, instance)'
  return [
    { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus', hide: 0 },
    {
      name: 'instance',
      label: 'Node',
      type: 'query',
      datasource: SOURCE,
      definition: query,
      query: { query, refId: 'instances' },
      refresh: 2,
      sort: 1,
      multi: true,
      includeAll: true,
      allValue: '.+',
      current: { text: 'All', value: '$__all' },
    },
  ]
}

/** From left to right, in as many lines as it takes. */
function laidOut(panels: readonly Panel[]): object[] {
  let [x, y, lineHeight] = [0, 0, 0]
  return panels.map((each, index) => {
    const height = HEIGHTS[each.type]
    if (x + each.width > COLUMNS) [x, y, lineHeight] = [0, y + lineHeight, 0]
    const gridPos = { x, y, w: each.width, h: height }
    x += each.width
    lineHeight = Math.max(lineHeight, height)
    return { id: index + 1, gridPos, ...shown(each) }
  })
}

function shown({ type, title, queries, unit, description, bad }: Panel): object {
  if (type === 'row') return { type, title, collapsed: false, panels: [] }
  const isGraph = type === 'timeseries'
  return {
    type,
    title,
    ...(description === undefined ? {} : { description }),
    datasource: SOURCE,
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode(65 + index),
      datasource: SOURCE,
      expr,
      legendFormat: legend ?? '__auto',
      ...(isGraph ? { range: true } : { instant: true, range: false }),
      ...(type === 'table' ? { format: 'table' } : {}),
      // The traces behind the values, where Prometheus keeps exemplars.
      ...(isGraph && expr.includes('_bucket') ? { exemplar: true } : {}),
    })),
    fieldConfig: {
      defaults: {
        unit,
        ...(bad === undefined ? {} : { thresholds: thresholds(bad) }),
        ...(isGraph ? { custom: { fillOpacity: 10, showPoints: 'never' } } : {}),
      },
      overrides: [],
    },
    ...(isGraph
      ? { options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } } }
      : {}),
    ...(type === 'stat'
      ? { options: { colorMode: bad ? 'background' : 'value', reduceOptions: { calcs: ['lastNotNull'] } } }
      : {}),
  }
}

function thresholds(bad: NonNullable<Panel['bad']>): object {
  const steps =
    'from' in bad
      ? [{ color: 'green' }, { color: 'red', value: bad.from }]
      : [{ color: 'red' }, { color: 'green', value: bad.below }]
  return { mode: 'absolute', steps: steps.map((step) => ({ value: null, ...step })) }
}
