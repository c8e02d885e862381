import { isIdentifier } from '../../model/identifier-grammar.ts'

export type NetworkMode =
  | { kind: 'none' | 'host' }
  | { kind: 'container'; id: string }
  | { kind: 'named'; name: string }

/** What is written in place of the name of a network. */
const RESERVED = new Set(['none', 'host', 'container'])

/** Whether a network may be called so. */
export const isNetworkName = (text: string): boolean => isIdentifier(text) && !RESERVED.has(text)

/** @returns undefined for what is not written as a network is */
export function networkMode(text: string | undefined): NetworkMode | undefined {
  if (text === undefined || text === 'none') return { kind: 'none' }
  if (text === 'host') return { kind: 'host' }
  const other = /^container:(.*)$/.exec(text)?.[1]
  if (other !== undefined) return isIdentifier(other) ? { kind: 'container', id: other } : undefined
  return isNetworkName(text) ? { kind: 'named', name: text } : undefined
}

/** The networks that a container has an interface in, its first one first. */
export function networksOf(options: { network?: string | undefined; moreNetworks?: string[] | undefined }): string[] {
  const mode = networkMode(options.network)
  return mode?.kind === 'named' ? [mode.name, ...(options.moreNetworks ?? [])] : []
}
