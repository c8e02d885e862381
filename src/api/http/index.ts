import { containerActivity } from './activity.ts'
import { archives } from './archives.ts'
import { auditing } from './audit.ts'
import { checkpoints } from './checkpoints.ts'
import { commands } from './commands.ts'
import { containerFiles } from './container-files.ts'
import { containerStreams } from './container-streams.ts'
import { daemon } from './daemon.ts'
import { doctor } from './doctor.ts'
import { eventSchemas } from './event-schema.ts'
import { eventStreams } from './events.ts'
import { imageDetails } from './image-details.ts'
import { ciJobs } from './jobs.ts'
import { logArchive } from './log.ts'
import { openapi } from './openapi.ts'
import { warmPools } from './pools.ts'
import { projectionStatus } from './projections.ts'
import { records } from './records.ts'
import { imageReferrers } from './referrers.ts'
import type { Resource } from './route.ts'
import { runtimes } from './runtimes.ts'
import { sandboxStatus } from './sandboxes.ts'
import { sealing } from './seal.ts'
import { serviceLevels } from './sli.ts'
import { snapshotUsage } from './snapshots.ts'
import { states } from './state.ts'
import { reasons } from './why.ts'

/** What is served. */
export const resources: readonly Resource[] = [
  //
  archives,
  auditing,
  checkpoints,
  commands,
  containerActivity,
  containerFiles,
  containerStreams,
  daemon,
  doctor,
  eventSchemas,
  eventStreams,
  imageDetails,
  ciJobs,
  logArchive,
  projectionStatus,
  records,
  imageReferrers,
  runtimes,
  sandboxStatus,
  sealing,
  serviceLevels,
  snapshotUsage,
  states,
  warmPools,
  reasons,
]

/** The document that describes them, served beside them. */
export const described: readonly Resource[] = [...resources, openapi(resources)]
