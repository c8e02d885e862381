import { resolve } from 'node:path'
import { PurserError } from '../../model/errors.ts'
import { parseBytes } from '../../oci/size.ts'

export interface ImageMountRequest {
  type: 'image'
  image: string
  target: string
}

export type MountRequest =
  | { type: 'bind'; source: string; target: string; options: string[] }
  | { type: 'tmpfs'; target: string; options: string[] }

const refuseVolume = (text: string, why: string): PurserError =>
  new PurserError('invalid_argument', `${JSON.stringify(text)} is not a bind mount: ${why}`, {
    remedy: 'write SOURCE:TARGET or SOURCE:TARGET:ro, both paths, the target absolute',
  })

/** docker's `-v SOURCE:TARGET[:OPTIONS]`. @throws PurserError invalid_argument */
export function volume(text: string): MountRequest {
  const [source = '', target = '', options, surplus] = text.split(':')
  if (source === '' || target === '') throw refuseVolume(text, 'it has no source or no target')
  if (surplus !== undefined) throw refuseVolume(text, 'it has too many parts')
  if (!target.startsWith('/')) throw refuseVolume(text, `the target ${target} is not absolute`)
  if (!source.includes('/') && source !== '.' && source !== '..') {
    throw refuseVolume(text, `there are no named volumes, and ${source} is not a path`)
  }
  return {
    type: 'bind',
    source: resolve(source),
    target,
    options: options ? options.split(',').map(asMountOption) : [],
  }
}

/** `z` and `Z` are for SELinux alone, and wanted nowhere else: there is nothing to relabel. */
const asMountOption = (option: string): string => (option === 'z' || option === 'Z' ? 'rw' : option)

const KEYS: Readonly<Record<string, string>> = {
  type: 'type',
  source: 'source',
  src: 'source',
  target: 'target',
  dst: 'target',
  destination: 'target',
  readonly: 'readonly',
  ro: 'readonly',
  'bind-propagation': 'propagation',
  'bind-recursive': 'recursive',
  'tmpfs-size': 'size',
  'tmpfs-mode': 'mode',
}

const refuseMount = (text: string, why: string): PurserError =>
  new PurserError('invalid_argument', `${JSON.stringify(text)} is not a mount: ${why}`, {
    remedy: 'write type=bind|image,source=…,target=…[,readonly] or type=tmpfs,target=…[,tmpfs-size=64m]',
  })

/** docker's `--tmpfs TARGET[:OPTIONS]`. @throws PurserError invalid_argument */
export function tmpfs(text: string): MountRequest {
  const at = text.indexOf(':')
  const target = at < 0 ? text : text.slice(0, at)
  if (target.startsWith('/')) return { type: 'tmpfs', target, options: at < 0 ? [] : text.slice(at + 1).split(',') }
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} mounts nothing: its path is not absolute`, {
    remedy: 'write /PATH or /PATH:OPTION,OPTION, such as /run:size=64m',
  })
}

/** docker's `--mount type=…,source=…,target=…`. @throws PurserError invalid_argument */
export function mount(text: string): MountRequest | ImageMountRequest {
  const given = new Map<string, string>()
  for (const part of text.split(',')) {
    const at = part.indexOf('=')
    const name = at < 0 ? part : part.slice(0, at)
    const key = Object.hasOwn(KEYS, name) ? KEYS[name] : undefined
    if (key === undefined) throw refuseMount(text, `there is no key ${JSON.stringify(name)}`)
    given.set(key, at < 0 ? '' : part.slice(at + 1))
  }
  const type = given.get('type') ?? 'bind'
  const target = given.get('target') ?? ''
  if (!target.startsWith('/'))
    throw refuseMount(text, target === '' ? 'it has no target' : 'the target is not absolute')
  const isReadOnly = !['false', '0', undefined].includes(given.get('readonly'))
  const options = isReadOnly ? ['ro'] : []
  if (type === 'tmpfs') {
    const [size, mode] = [given.get('size'), given.get('mode')]
    if (size !== undefined) options.push(`size=${parseBytes(size)}`)
    if (mode !== undefined) options.push(`mode=${mode}`)
    return { type, target, options }
  }
  if (type === 'image') {
    const image = given.get('source') ?? ''
    if (image === '') throw refuseMount(text, 'it has no source, which is an image')
    return { type, image, target }
  }
  if (type !== 'bind') throw refuseMount(text, `there is no type ${JSON.stringify(type)}`)
  const source = given.get('source') ?? ''
  if (source === '') throw refuseMount(text, 'it has no source')
  const propagation = given.get('propagation')
  if (propagation !== undefined) options.push(propagation)
  options.push(...recursion(text, given.get('recursive'), isReadOnly))
  return { type, source: resolve(source), target, options }
}

/** What becomes of mounts below the source. */
function recursion(text: string, asked: string | undefined, isReadOnly: boolean): string[] {
  switch (asked) {
    case undefined:
    case 'enabled':
    case 'writable':
      return []
    case 'disabled':
      return ['bind']
    case 'readonly':
      if (isReadOnly) return ['rro']
      throw refuseMount(text, 'bind-recursive=readonly needs readonly too')
  }
  throw refuseMount(text, `there is no bind-recursive=${asked}: it is enabled, disabled, writable or readonly`)
}
