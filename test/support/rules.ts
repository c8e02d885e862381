import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const DIRECTORY = join(import.meta.dirname, '../../packaging/prometheus')

export const ALERT_RULES = join(DIRECTORY, 'purser-alerts.rules.yml')
export const RULE_FILES: readonly string[] = [join(DIRECTORY, 'purser-recording.rules.yml'), ALERT_RULES]

/** Of the alerts that ship. */
export const alertNames = (): string[] =>
  [...readFileSync(ALERT_RULES, 'utf8').matchAll(/^ {6}- alert: (\w+)$/gm)].map(([, name = '']) => name)

/** The file in docs/runbooks that an alert links to. */
export function runbookOf(alert: string): string {
  const [, after = ''] = readFileSync(ALERT_RULES, 'utf8').split(`- alert: ${alert}\n`)
  return /^ +runbook_url: file:\/\/\/opt\/purser\/docs\/runbooks\/(\S+)$/m.exec(after)?.[1] ?? ''
}
