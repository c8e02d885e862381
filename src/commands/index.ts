import type { AnyAggregate } from '../model/aggregate.ts'
import { collection } from './collection.ts'
import { command } from './command.ts'
import { container } from './container.ts'
import { containerName } from './container-name.ts'
import { content } from './content.ts'
import { image } from './image.ts'
import { job } from './job.ts'
import { logBook } from './log.ts'
import { maintenance } from './maintenance.ts'
import { namespace } from './namespace.ts'
import { network } from './network.ts'
import { pool } from './pool.ts'
import { poolMember } from './pool-member.ts'
import { project } from './project.ts'
import { request } from './request.ts'
import { sandbox } from './sandbox.ts'
import { snapshot } from './snapshot.ts'
import { task } from './task.ts'
import { trust } from './trust.ts'

const all: AnyAggregate[] = [
  //
  collection,
  command,
  container,
  containerName,
  content,
  image,
  job,
  logBook,
  maintenance,
  namespace,
  network,
  pool,
  poolMember,
  project,
  request,
  sandbox,
  snapshot,
  task,
  trust,
]

/** Every aggregate by its name. */
export const aggregates: ReadonlyMap<string, AnyAggregate> = new Map(all.map((each) => [each.name, each]))

/** Every command type, with the aggregate it belongs to. */
export const commandTypes: ReadonlyMap<string, AnyAggregate> = new Map(
  all.flatMap((each) => Object.keys(each.commands).map((type) => [type, each] as const)),
)

/** Commands that make up an id where the request names none. */
export const CREATES_ITS_SUBJECT: ReadonlySet<string> = new Set([
  'container.provision',
  'container.restore',
  'container.run',
  'job.submit',
  'sandbox.create',
])
