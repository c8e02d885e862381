import type { ArgumentSpec, Listed, OptionSpecs, Verb } from './verb.ts'

export const ABOUT = 'A container runtime that keeps books.'

/** The help of a verb, from its definition. */
export function verbHelp(path: string, summary: string, verb: Verb, globals: OptionSpecs): string {
  const usage = ['purser', path, '[options]', ...verb.args.map(argumentWords)].join(' ')
  return `${summary}\n\nUsage: ${usage}\n${optionLines('Options', verb.options)}${optionLines('Options of every verb', globals)}`
}

/** The help of a list of verbs, none of which has to be loaded. */
export function listHelp(path: string, summary: string, verbs: readonly Listed[], globals: OptionSpecs): string {
  const shown = verbs.filter((verb) => !('hidden' in verb))
  const names = shown.map((verb) => ('verbs' in verb ? `${verb.name} …` : verb.name))
  const width = Math.max(...names.map((name) => name.length))
  const lines = shown.map((verb, index) => `  ${(names[index] ?? '').padEnd(width)}  ${verb.summary}\n`)
  const start = ['purser', path].filter((part) => part !== '').join(' ')
  return `${summary}\n\nUsage: ${start} [options] <verb>\n\nVerbs:\n${lines.join('')}${optionLines('Options', globals)}\n${start} <verb> --help tells more of a verb.\n`
}

function argumentWords({ name, count }: ArgumentSpec): string {
  if (count === '1') return `<${name}>`
  if (count === '1-') return `<${name}>...`
  return count === '0-1' ? `[${name}]` : `[${name}...]`
}

function optionLines(title: string, options: OptionSpecs): string {
  const rows = Object.entries(options).map(([name, spec]) => {
    const short = spec.short === undefined ? '    ' : `-${spec.short}, `
    const value = 'value' in spec ? ` <${spec.choices?.join('|') ?? spec.value}>` : ''
    return [`  ${short}--${name}${value}`, spec.help] as const
  })
  if (rows.length === 0) return ''
  const width = Math.min(40, Math.max(...rows.map(([left]) => left.length)))
  return `\n${title}:\n${rows.map(([left, help]) => `${left.padEnd(width)}  ${help}\n`).join('')}`
}
