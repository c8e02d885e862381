import type { collection } from '../commands/collection.ts'
import type { command } from '../commands/command.ts'
import type { container } from '../commands/container.ts'
import type { content } from '../commands/content.ts'
import type { image } from '../commands/image.ts'
import type { job } from '../commands/job.ts'
import type { maintenance } from '../commands/maintenance.ts'
import type { namespace } from '../commands/namespace.ts'
import type { network } from '../commands/network.ts'
import type { pool } from '../commands/pool.ts'
import type { poolMember } from '../commands/pool-member.ts'
import type { project } from '../commands/project.ts'
import type { sandbox } from '../commands/sandbox.ts'
import type { snapshot } from '../commands/snapshot.ts'
import type { task } from '../commands/task.ts'
import type { InputOf } from '../model/aggregate.ts'

/** Types only: a client loads none of the schemas. */
type Schemas = typeof collection.commands &
  typeof command.commands &
  typeof container.commands &
  typeof content.commands &
  typeof image.commands &
  typeof job.commands &
  typeof maintenance.commands &
  typeof namespace.commands &
  typeof network.commands &
  typeof pool.commands &
  typeof poolMember.commands &
  typeof project.commands &
  typeof sandbox.commands &
  typeof snapshot.commands &
  typeof task.commands

/** `container.run`, `image.pull`, … */
export type CommandType = keyof Schemas & string

/** What a command of a type takes, before defaults are filled in. */
export type CommandPayload<T extends CommandType> = InputOf<Schemas[T]>
