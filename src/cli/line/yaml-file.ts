import { PurserError } from '../../model/errors.ts'
import { readTextFile } from './files.ts'

export type Mapping = Record<string, unknown>

export const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * A mapping from a file in YAML, of which JSON is a part.
 *
 * @param page that describes such files
 * @throws PurserError invalid_argument, naming file and line
 */
export async function readYamlFile(path: string, page: string): Promise<Mapping> {
  const text = await readTextFile(path)
  const { LineCounter, parseDocument } = await import('yaml')
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false })
  const [error] = document.errors
  if (error) {
    const { line, col } = lineCounter.linePos(error.pos[0])
    throw new PurserError('invalid_argument', `${path}:${line}:${col}: ${error.message}`, {
      cause: error,
      remedy: `mend that line; ${page} describes the file`,
    })
  }
  const value: unknown = document.toJS()
  if (isMapping(value)) return value
  throw new PurserError('invalid_argument', `${path} is not a mapping of names to values`, {
    remedy: `${page} describes the file`,
  })
}
