import { mergeEnv } from '../spec/environment.ts'
import type { Device, Hook, Hooks, Mount, Spec } from '../spec/schema.ts'
import type { CdiEdits } from './spec.ts'

/** A device as the host has it, with what its specification leaves open filled in. */
export interface CdiDevice extends Device {
  permissions: string
}

/** Edits whose devices are known. */
export type ResolvedEdits = Omit<CdiEdits, 'deviceNodes'> & { devices: readonly CdiDevice[] }

/**
 * A specification with what devices need: variables, nodes, mounts, groups, hooks. What is at the same place before gives way.
 *
 * @see container-device-interface, SPEC.md, "OCI Edits"
 */
export function applyCdi(spec: Spec, all: readonly ResolvedEdits[]): Spec {
  const devices = all.flatMap((edits) => edits.devices)
  const mounts = all.flatMap((edits) => edits.mounts ?? []).map(mountOf)
  const { process: own, linux } = spec
  const hooks = hooksOf(all)
  return {
    ...spec,
    process: {
      ...own,
      env: mergeEnv(own.env, ...all.map(({ env = [] }) => env)),
      user: {
        ...own.user,
        additionalGids: [
          ...new Set([...(own.user.additionalGids ?? []), ...all.flatMap((edits) => edits.additionalGids ?? [])]),
        ],
      },
    },
    mounts: inOrder([
      ...spec.mounts.filter(({ destination }) => mounts.every((each) => each.destination !== destination)),
      ...mounts,
    ]),
    ...(hooks === undefined ? {} : { hooks }),
    linux: {
      ...linux,
      ...(devices.length === 0
        ? {}
        : { devices: [...withoutThese(linux.devices ?? [], devices), ...devices.map(nodeOf(spec))] }),
      resources: {
        ...linux.resources,
        devices: [
          ...linux.resources.devices,
          ...devices.flatMap(({ type, major, minor, permissions }) =>
            type === 'p'
              ? []
              : [{ allow: true, type: type === 'u' ? ('c' as const) : type, major, minor, access: permissions }],
          ),
        ],
      },
    },
  }
}

const withoutThese = (devices: readonly Device[], others: readonly Device[]): Device[] =>
  devices.filter(({ path }) => others.every((each) => each.path !== path))

/** It is the process's own, unless the specification says whose it is. */
const nodeOf =
  ({ process: { user } }: Spec) =>
  ({ permissions: _, ...device }: CdiDevice): Device => ({
    ...device,
    ...(device.uid === undefined && user.uid > 0 ? { uid: user.uid } : {}),
    ...(device.gid === undefined && user.gid > 0 ? { gid: user.gid } : {}),
  })

function mountOf({ hostPath, containerPath, type, options = [] }: NonNullable<CdiEdits['mounts']>[number]): Mount {
  const isBind = (type ?? '') === '' || type === 'bind'
  const hasBind = options.includes('bind') || options.includes('rbind')
  return {
    destination: containerPath,
    type: isBind ? 'bind' : (type ?? ''),
    source: hostPath,
    options: isBind && !hasBind ? ['bind', ...options] : [...options],
  }
}

/** Parents come before what is mounted beneath them. */
function inOrder(mounts: readonly Mount[]): Mount[] {
  const depth = ({ destination }: Mount) => destination.split('/').length
  return [...mounts].sort((a, b) => depth(a) - depth(b))
}

function hooksOf(all: readonly ResolvedEdits[]): Hooks | undefined {
  const hooks: Hooks = {}
  for (const { hookName, ...hook } of all.flatMap((edits) => edits.hooks ?? [])) {
    const given = Object.fromEntries(Object.entries(hook).filter(([, value]) => value !== undefined))
    hooks[hookName] = [...(hooks[hookName] ?? []), { path: hook.path, ...given } as Hook]
  }
  return Object.keys(hooks).length === 0 ? undefined : hooks
}
