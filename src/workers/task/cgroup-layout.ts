import { createHash } from 'node:crypto'
import { PurserError } from '../../model/errors.ts'
import { isSlice, pathOfSlice } from '../../oci/spec/cgroup-parent.ts'

/** How cgroups of tasks are made, and in which one. */
export interface CgroupConfig {
  driver: 'cgroupfs' | 'systemd'
  /** A path, or a slice for systemd; one of the daemon's own by default. */
  parent?: string | undefined
}

const DEFAULT_STATE = '/run/purser'
const DEFAULT_SLICE = 'system.slice'

/** Where the cgroup of a task is, and how its specification says so. */
export class CgroupLayout {
  readonly #config: CgroupConfig
  readonly #parentOf: (namespace: string, id: string) => string | undefined
  readonly #own: string

  /**
   * @param state of the daemon: two on one machine must not meet in a cgroup either
   * @param parentOf what a container asks for
   * @throws PurserError invalid_argument when the parent is not of the driver's kind
   */
  constructor(
    state: string,
    config: CgroupConfig = { driver: 'cgroupfs' },
    parentOf: (namespace: string, id: string) => string | undefined = () => undefined,
  ) {
    this.#config = config
    this.#parentOf = parentOf
    const suffix = state === DEFAULT_STATE ? '' : `-${createHash('sha256').update(state).digest('hex').slice(0, 8)}`
    this.#own = config.driver === 'systemd' ? `purser${suffix}` : (config.parent ?? `/purser${suffix}`)
    if (config.parent !== undefined) this.require(config.parent, 'cgroup.parent')
  }

  /** @throws PurserError invalid_argument when a parent is not of the driver's kind */
  require(parent: string | undefined, field: string): void {
    const { driver } = this.#config
    if (parent === undefined || isSlice(parent) === (driver === 'systemd')) return
    throw new PurserError(
      'invalid_argument',
      `${field}: ${parent} is no parent for a cgroup with the driver ${driver}`,
      {
        remedy: driver === 'systemd' ? 'name a slice, such as ci-jobs.slice' : 'name a path, such as /ci/jobs',
        field,
      },
    )
  }

  /** Below each controller's root. */
  path(namespace: string, id: string): string {
    if (this.#config.driver === 'systemd') {
      return `${pathOfSlice(this.#slice(namespace, id))}/${this.#own}-${nameOf(namespace, id)}.scope`
    }
    const parent = this.#parentOf(namespace, id)
    return parent === undefined ? `${this.#own}/${namespace}/${id}` : `${parent}/${nameOf(namespace, id)}`
  }

  /** @see runc, docs/systemd.md: `slice:prefix:name` */
  inSpec(namespace: string, id: string): string {
    if (this.#config.driver === 'cgroupfs') return this.path(namespace, id)
    return `${this.#slice(namespace, id)}:${this.#own}:${nameOf(namespace, id)}`
  }

  /** What a runtime leaves of cgroups: the directories above them, innermost first. systemd removes its own. */
  parents(namespace: string): string[] {
    if (this.#config.driver === 'systemd') return []
    return [`${this.#own}/${namespace}`, ...(this.#config.parent === undefined ? [this.#own] : [])]
  }

  #slice(namespace: string, id: string): string {
    return this.#parentOf(namespace, id) ?? this.#config.parent ?? DEFAULT_SLICE
  }
}

/** Neither has two separators in a row: no two pairs give one name. */
const nameOf = (namespace: string, id: string): string => `${namespace}--${id}`
