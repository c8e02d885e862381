import type { CommandPayload } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'

export type Changes = NonNullable<CommandPayload<'image.commit'>['changes']>

/**
 * One instruction of `commit --change`, in the words of a Dockerfile: `CMD ["sh"]`, `ENV A=b`, `USER 1000`.
 *
 * @see Dockerfile reference; docker commit knows the same ones, but for ONBUILD
 */
export function change(text: string): Changes {
  const [, instruction = '', rest = ''] = /^\s*([A-Za-z]+)\s+(.*?)\s*$/s.exec(text) ?? []
  switch (instruction.toUpperCase()) {
    case 'CMD':
      return { cmd: argv(rest) }
    case 'ENTRYPOINT':
      return { entrypoint: argv(rest) }
    case 'ENV':
      return { env: [pair(text, rest).join('=')] }
    case 'LABEL':
      return { labels: Object.fromEntries([pair(text, rest)]) }
    case 'EXPOSE':
      return { exposedPorts: rest.split(/\s+/).map((port) => (port.includes('/') ? port : `${port}/tcp`)) }
    case 'VOLUME':
      return { volumes: rest.startsWith('[') ? argv(rest) : rest.split(/\s+/) }
    case 'USER':
      return { user: rest }
    case 'WORKDIR':
      return { workingDir: rest }
    case 'STOPSIGNAL':
      return { stopSignal: rest }
  }
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no change`, {
    remedy: 'write one of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR and its value',
  })
}

/** Several instructions as one: later ones win, lists grow. */
export function mergedChanges(all: readonly Changes[]): Changes {
  const merged: Changes = {}
  for (const { env = [], labels = {}, exposedPorts = [], volumes = [], ...rest } of all) {
    Object.assign(merged, rest)
    if (env.length > 0) merged.env = [...(merged.env ?? []), ...env]
    if (Object.keys(labels).length > 0) merged.labels = { ...merged.labels, ...labels }
    if (exposedPorts.length > 0) merged.exposedPorts = [...(merged.exposedPorts ?? []), ...exposedPorts]
    if (volumes.length > 0) merged.volumes = [...(merged.volumes ?? []), ...volumes]
  }
  return merged
}

/** A JSON list of words, or a command line for the shell. */
function argv(text: string): string[] {
  if (!text.startsWith('[')) return ['/bin/sh', '-c', text]
  try {
    const words: unknown = JSON.parse(text)
    if (Array.isArray(words) && words.every((word): word is string => typeof word === 'string')) return words
  } catch {
    // Told below.
  }
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no list of words`, {
    remedy: 'write ["program","argument"], with double quotes',
  })
}

function pair(text: string, rest: string): [string, string] {
  const at = rest.indexOf('=')
  if (at <= 0) {
    throw new PurserError('invalid_argument', `${JSON.stringify(text)} has no NAME=VALUE`, {
      remedy: 'write NAME=VALUE',
    })
  }
  return [rest.slice(0, at), rest.slice(at + 1).replace(/^(["'])(.*)\1$/s, '$2')]
}
