import { PurserError } from '../../model/errors.ts'

/** One side of a copy: in a container, on this machine, or a tar on a stream. */
export type Place =
  | { at: 'container'; container: string; path: string }
  | { at: 'here'; path: string }
  | { at: 'stream' }

/** `CONTAINER:PATH`, a path, or `-`; a path with a colon is told by a `/` or `.` at its beginning, as docker has it. */
export function placeOf(text: string): Place {
  if (text === '-') return { at: 'stream' }
  const colon = text.indexOf(':')
  if (text.startsWith('/') || text.startsWith('.') || colon <= 0) return { at: 'here', path: text }
  const path = text.slice(colon + 1)
  // As docker: relative to the root, for the working directory is a process's own.
  return { at: 'container', container: text.slice(0, colon), path: path.startsWith('/') ? path : `/${path}` }
}

/** What becomes of a source, when it is copied to a target. */
export interface Placement {
  /** Directory that is there. */
  directory: string
  /** How the source is called in it; `.` for what is in the source. */
  name: string
}

export interface Source {
  path: string
  isDirectory: boolean
}

/**
 * docker's rules: into a directory that is there, over a file that is there, or under the name that is not there yet.
 *
 * @param found what is at the target
 * @throws PurserError
 */
export function placement(source: Source, target: string, found: 'directory' | 'other' | 'nothing'): Placement {
  const isContent = source.path === '/' || /(?:^|\/)\.$/.test(source.path)
  if (isContent && !source.isDirectory) {
    throw new PurserError('failed_precondition', `${source.path} is no directory`, { remedy: 'leave /. out' })
  }
  if (found === 'directory') return { directory: target, name: isContent ? '.' : nameOf(source.path) }
  if (found === 'other' && source.isDirectory) {
    throw new PurserError('failed_precondition', `${target} is a file, and ${source.path} is a directory`, {
      remedy: 'name a directory to copy into',
    })
  }
  if (found === 'nothing' && target.endsWith('/') && !source.isDirectory) {
    throw new PurserError('not_found', `there is no directory ${target}`, { remedy: 'make it, or leave the / out' })
  }
  const clean = target.replace(/(?<=.)\/+$/, '')
  return { directory: parentOf(clean), name: nameOf(clean) }
}

export const nameOf = (path: string): string =>
  path
    .replace(/(?<=.)\/+$/, '')
    .split('/')
    .at(-1) || '.'

export function parentOf(path: string): string {
  const at = path.replace(/(?<=.)\/+$/, '').lastIndexOf('/')
  return at < 0 ? '.' : path.slice(0, at) || '/'
}
