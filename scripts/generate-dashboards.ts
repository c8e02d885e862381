/** Writes packaging/grafana from the panels in scripts/dashboards. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { debug } from './dashboards/debug.ts'
import { executive } from './dashboards/executive.ts'
import { onCall } from './dashboards/on-call.ts'
import { grafanaJson } from './dashboards/panels.ts'

export const GRAFANA = join(import.meta.dirname, '../packaging/grafana')
export const dashboards = [executive, onCall, debug]

/** The files by name. */
export const dashboardFiles = (): ReadonlyMap<string, string> =>
  new Map(dashboards.map((each) => [`${each.uid}.json`, grafanaJson(each)]))

if (import.meta.main) for (const [name, json] of dashboardFiles()) writeFileSync(join(GRAFANA, name), json)
