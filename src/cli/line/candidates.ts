import { PurserClient } from '../../client/index.ts'
import { globals } from './globals.ts'
import type { Listed, OptionSpecs, Source, Verb } from './verb.ts'

export interface Candidate {
  word: string
  help?: string
}

/** A shell's user waits for this: whatever the daemon has not said by then is not offered. */
const PATIENCE_MS = 1000

/**
 * What the last of the words may become.
 *
 * @param words after `purser`; the last one is the one the cursor is in, empty where it is about to begin
 * @param client for the daemon that the environment names, unless the words name another
 */
export async function candidates(
  words: readonly string[],
  verbs: readonly Listed[],
  client: PurserClient,
): Promise<Candidate[]> {
  const current = words.at(-1) ?? ''
  const state = await walk(words.slice(0, -1), verbs)
  const all = await possible(state, current, client)
  return all.filter(({ word }) => word.startsWith(current))
}

interface Position {
  list: readonly Listed[]
  verb: Verb | undefined
  options: OptionSpecs
  /** Arguments that the verb has already. */
  count: number
  /** The option whose value comes next. */
  valueOf: string | undefined
  /** From here on the words are those of the program that is run. */
  isPast: boolean
  address: string | undefined
  namespace: string | undefined
}

/** Follows complete words as far as they make sense; what does not is passed over, for it is being written. */
async function walk(words: readonly string[], verbs: readonly Listed[]): Promise<Position> {
  const at: Position = {
    list: verbs,
    verb: undefined,
    options: globals,
    count: 0,
    valueOf: undefined,
    isPast: false,
    address: undefined,
    namespace: undefined,
  }
  for (const word of words) {
    if (at.valueOf !== undefined) {
      if (at.valueOf === 'address') at.address = word
      if (at.valueOf === 'namespace') at.namespace = word
      at.valueOf = undefined
    } else if (word.startsWith('-') && word !== '-' && !at.isPast) at.valueOf = awaits(word, at.options)
    else if (at.verb) {
      at.count++
      at.isPast ||= at.verb.passThrough === (at.count === 1 ? 'first-argument' : 'second-argument')
    } else {
      const next = at.list.find(({ name }) => name === word)
      if (next && 'verbs' in next) at.list = next.verbs
      else if (next) {
        at.verb = (await next.load()).verb
        at.options = { ...globals, ...at.verb.options }
      }
    }
  }
  return at
}

/** The long name of an option that takes its value from the next word. */
function awaits(word: string, options: OptionSpecs): string | undefined {
  const entries = Object.entries(options).filter(([, spec]) => 'value' in spec)
  if (word.startsWith('--')) return entries.find(([name]) => word === `--${name}`)?.[0]
  // Of a group such as -it only the last letter can take a value.
  return entries.find(([, { short }]) => short !== undefined && word.endsWith(short))?.[0]
}

async function possible(at: Position, current: string, client: PurserClient): Promise<Candidate[]> {
  const namespace = at.namespace ?? client.namespace
  const asked = new PurserClient({ socketPath: at.address ?? client.socketPath, namespace, reconnectMs: 0 })
  if (at.valueOf !== undefined) return await valuesOf(at.options, at.valueOf, asked)
  if (current.startsWith('-') && !at.isPast) {
    return Object.entries(at.options).map(([name, { help }]) => ({ word: `--${name}`, help }))
  }
  if (!at.verb) return listed(at.list)
  const { args } = at.verb
  const spec = args[at.count] ?? (args.at(-1)?.count.endsWith('-') ? args.at(-1) : undefined)
  if (spec?.completes === 'verb') return listed(at.list)
  return spec?.completes === undefined ? [] : await namesOf(spec.completes, asked)
}

const listed = (list: readonly Listed[]): Candidate[] =>
  list.filter((each) => !('hidden' in each)).map(({ name, summary }) => ({ word: name, help: summary }))

async function valuesOf(options: OptionSpecs, name: string, client: PurserClient): Promise<Candidate[]> {
  const spec = options[name]
  if (!spec || !('value' in spec)) return []
  if (spec.choices) return spec.choices.map((word) => ({ word }))
  return spec.completes === undefined ? [] : await namesOf(spec.completes, client)
}

const SOURCES: Readonly<Record<Source, (client: PurserClient, signal: AbortSignal) => Promise<Candidate[]>>> = {
  command: async (client, signal) =>
    (await Array.fromAsync(client.list('commands', { status: 'active' }, signal))).map(({ id, type, subject }) => ({
      word: id,
      help: `${type} ${subject}`,
    })),
  container: async (client, signal) =>
    (await Array.fromAsync(client.list('containers', {}, signal))).map(({ id, image, status }) => ({
      word: id,
      help: `${status}, ${image}`,
    })),
  content: async (client, signal) =>
    (await Array.fromAsync(client.list('content', {}, signal))).map(({ digest }) => ({ word: digest })),
  file: async () => [],
  image: async (client, signal) =>
    (await Array.fromAsync(client.list('images', {}, signal))).map(({ name }) => ({ word: name })),
  job: async (client, signal) =>
    (await Array.fromAsync(client.list('jobs', {}, signal))).map(({ id, name, status }) => ({
      word: id,
      help: name === undefined ? status : `${status}, ${name}`,
    })),
  namespace: async (client, signal) =>
    (await Array.fromAsync(client.list('namespaces', {}, signal))).map(({ name }) => ({ word: name })),
  network: async (client, signal) =>
    (await Array.fromAsync(client.list('networks', {}, signal))).map(({ name, subnet }) => ({
      word: name,
      help: subnet,
    })),
  'network-mode': async (client, signal) => [
    { word: 'none', help: 'loopback only' },
    { word: 'host', help: "the host's own" },
    ...(await SOURCES.network(client, signal).catch(() => [])),
  ],
  sandbox: async (client, signal) =>
    (await Array.fromAsync(client.list('sandboxes', {}, signal))).map(({ id, status }) => ({ word: id, help: status })),
  shell: async () => ['bash', 'zsh', 'fish'].map((word) => ({ word })),
  subject: async (client, signal) => [
    ...(await SOURCES.container(client, signal)),
    ...(await SOURCES.image(client, signal)),
  ],
  verb: async () => [],
}

async function namesOf(source: Source, client: PurserClient): Promise<Candidate[]> {
  // Without a daemon there is nothing to offer, and nobody to tell it to.
  return await SOURCES[source](client, AbortSignal.timeout(PATIENCE_MS)).catch(() => [])
}
