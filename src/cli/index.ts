import type { Listed } from './line/verb.ts'

// These have two names.
const jobShow = () => import('./job-show.ts')
const images = () => import('./images.ts')
const load = () => import('./load.ts')
const pull = () => import('./pull.ts')
const push = () => import('./push.ts')
const rmi = () => import('./rmi.ts')
const save = () => import('./save.ts')
const tag = () => import('./tag.ts')

/** Every verb. A file is loaded when its verb is asked for. */
export const verbs: readonly Listed[] = [
  { name: '__complete', summary: 'candidates for a shell', hidden: true, load: () => import('./complete.ts') },
  { name: 'attach', summary: 'connect this terminal with a container that runs', load: () => import('./attach.ts') },
  { name: 'audit', summary: 'who did what, to what, and with which outcome', load: () => import('./audit.ts') },
  {
    name: 'checkpoint',
    summary: 'processes of containers on disk, to go on from there',
    verbs: [
      {
        name: 'create',
        summary: 'write the processes of a container to disk',
        load: () => import('./checkpoint-create.ts'),
      },
      {
        name: 'export',
        summary: 'write a checkpoint to an archive, for another node',
        load: () => import('./checkpoint-export.ts'),
      },
      { name: 'ls', summary: 'list the checkpoints of a container', load: () => import('./checkpoint-ls.ts') },
      { name: 'rm', summary: 'remove checkpoints of a container', load: () => import('./checkpoint-rm.ts') },
    ],
  },
  {
    name: 'command',
    summary: 'commands: what was asked for, and what became of it',
    verbs: [
      { name: 'cancel', summary: 'ask for commands to be cancelled', load: () => import('./command-cancel.ts') },
      { name: 'ls', summary: 'list commands, newest first', load: () => import('./command-ls.ts') },
      { name: 'show', summary: 'a command, as JSON', load: () => import('./command-show.ts') },
      { name: 'submit', summary: 'have any command carried out', load: () => import('./command-submit.ts') },
    ],
  },
  { name: 'commit', summary: 'make an image of a container', load: () => import('./commit.ts') },
  { name: 'completion', summary: 'completion script of a shell', load: () => import('./completion.ts') },
  {
    name: 'content',
    summary: 'stored blobs',
    verbs: [{ name: 'ls', summary: 'list blobs', load: () => import('./content-ls.ts') }],
  },
  { name: 'cp', summary: 'copy files into a container or out of it', load: () => import('./cp.ts') },
  { name: 'create', summary: 'make a container without starting it', load: () => import('./create.ts') },
  { name: 'daemon', summary: 'run the daemon', load: () => import('./daemon.ts') },
  { name: 'down', summary: 'stop and remove the containers of a run file', load: () => import('./down.ts') },
  { name: 'events', summary: 'the log of the node', load: () => import('./events.ts') },
  { name: 'exec', summary: 'run one more process in a container', load: () => import('./exec.ts') },
  { name: 'gc', summary: 'remove content and snapshots that nothing refers to', load: () => import('./gc.ts') },
  { name: 'help', summary: 'tell more of a verb', load: () => import('./help.ts') },
  {
    name: 'history',
    summary: 'all that happened to a container or image, and who asked for it',
    load: () => import('./history.ts'),
  },
  { name: 'images', summary: 'list images', load: images },
  {
    name: 'image',
    summary: 'images',
    verbs: [
      { name: 'check', summary: 'hash anew what is on disk of images', load: () => import('./image-check.ts') },
      {
        name: 'convert',
        summary: 'make an image of the same content with layers in zstd',
        load: () => import('./image-convert.ts'),
      },
      { name: 'diff', summary: 'what differs between two images', load: () => import('./image-diff.ts') },
      { name: 'export', summary: 'the same as save', load: save },
      { name: 'import', summary: 'the same as load', load },
      {
        name: 'inspect',
        summary: 'all that is known of images, with history and sizes',
        load: () => import('./image-inspect.ts'),
      },
      { name: 'ls', summary: 'the same as images', load: images },
      { name: 'pin', summary: 'keep images: they are removed by force only', load: () => import('./image-pin.ts') },
      { name: 'pull', summary: 'the same as pull', load: pull },
      { name: 'push', summary: 'the same as push', load: push },
      {
        name: 'referrers',
        summary: 'what refers to an image at its registry: signatures, attestations, SBOMs',
        load: () => import('./image-referrers.ts'),
      },
      { name: 'rm', summary: 'the same as rmi', load: rmi },
      { name: 'tag', summary: 'the same as tag', load: tag },
      { name: 'unpin', summary: 'let images be removed again', load: () => import('./image-unpin.ts') },
      {
        name: 'verify',
        summary: 'check signatures against the policies of the node',
        load: () => import('./image-verify.ts'),
      },
    ],
  },
  { name: 'info', summary: 'the daemon and what it keeps', load: () => import('./info.ts') },
  {
    name: 'inspect',
    summary: 'all that is known of containers, images, commands …',
    load: () => import('./inspect.ts'),
  },
  {
    name: 'job',
    summary: 'jobs: steps that run to completion, when there is a place for them',
    verbs: [
      {
        name: 'artifacts',
        summary: 'write the artifacts of a job to a directory',
        load: () => import('./job-artifacts.ts'),
      },
      { name: 'cancel', summary: 'take jobs out of the queue, or end them', load: () => import('./job-cancel.ts') },
      { name: 'inspect', summary: 'the same as show', load: jobShow },
      { name: 'logs', summary: 'what the steps of a job have written', load: () => import('./job-logs.ts') },
      { name: 'ls', summary: 'list jobs, newest first', load: () => import('./job-ls.ts') },
      { name: 'rm', summary: 'forget ended jobs, their logs and artifacts', load: () => import('./job-rm.ts') },
      { name: 'show', summary: 'jobs with their attempts, steps and timings, as JSON', load: jobShow },
      { name: 'submit', summary: 'have a job run that a file describes', load: () => import('./job-submit.ts') },
      { name: 'wait', summary: 'wait for jobs to end, and end as they did', load: () => import('./job-wait.ts') },
    ],
  },
  { name: 'kill', summary: 'send containers a signal', load: () => import('./kill.ts') },
  { name: 'load', summary: 'take images out of an archive: an OCI layout, or of docker save', load },
  {
    name: 'log',
    summary: 'the log: seal it, verify it, prove what is in it',
    verbs: [
      {
        name: 'check-proof',
        summary: 'check a proof; needs no daemon',
        load: () => import('./log-check-proof.ts'),
      },
      {
        name: 'checkpoint',
        summary: 'the signed head, to be kept elsewhere',
        load: () => import('./log-checkpoint.ts'),
      },
      {
        name: 'consistent',
        summary: 'prove that the log has only grown since an older checkpoint',
        load: () => import('./log-consistent.ts'),
      },
      { name: 'export', summary: 'a backup: events as they are sealed', load: () => import('./log-export.ts') },
      {
        name: 'import',
        summary: 'take a backup into an empty node; the daemon does not run',
        load: () => import('./log-import.ts'),
      },
      { name: 'key', summary: 'the public key that the log is signed with', load: () => import('./log-key.ts') },
      { name: 'prove', summary: 'prove that an event is in the log', load: () => import('./log-prove.ts') },
      {
        name: 'restore',
        summary: 'make the log in Redis anew from the archive; the daemon does not run',
        load: () => import('./log-restore.ts'),
      },
      { name: 'seal', summary: 'seal all events now', load: () => import('./log-seal.ts') },
      { name: 'show', summary: 'how far the log goes, and what of it is sealed', load: () => import('./log-show.ts') },
      {
        name: 'verify',
        summary: 'check that nothing was altered, dropped or moved; needs no daemon with --archive',
        load: () => import('./log-verify.ts'),
      },
    ],
  },
  { name: 'logs', summary: 'what a container has written', load: () => import('./logs.ts') },
  {
    name: 'maintenance',
    summary: 'announce changes to the node: the alerts that ship are silent',
    verbs: [
      { name: 'start', summary: 'say what is being done', load: () => import('./maintenance-start.ts') },
      { name: 'stop', summary: 'say that it is done', load: () => import('./maintenance-stop.ts') },
    ],
  },
  {
    name: 'namespace',
    summary: 'namespaces: each has its own images and containers',
    verbs: [
      { name: 'create', summary: 'create namespaces', load: () => import('./namespace-create.ts') },
      { name: 'ls', summary: 'list namespaces', load: () => import('./namespace-ls.ts') },
      { name: 'rm', summary: 'remove empty namespaces', load: () => import('./namespace-rm.ts') },
    ],
  },
  {
    name: 'network',
    summary: 'networks that containers are run in',
    verbs: [
      {
        name: 'connect',
        summary: 'take a container into one more network',
        load: () => import('./network-connect.ts'),
      },
      { name: 'create', summary: 'make networks', load: () => import('./network-create.ts') },
      {
        name: 'disconnect',
        summary: 'take a container out of one of its networks',
        load: () => import('./network-disconnect.ts'),
      },
      {
        name: 'inspect',
        summary: 'networks and the containers in them, as JSON',
        load: () => import('./network-inspect.ts'),
      },
      { name: 'ls', summary: 'list networks', load: () => import('./network-ls.ts') },
      { name: 'rm', summary: 'remove networks that no container uses', load: () => import('./network-rm.ts') },
    ],
  },
  { name: 'pause', summary: 'freeze containers', load: () => import('./pause.ts') },
  {
    name: 'pool',
    summary: 'tasks that are started ahead, to be had in a moment',
    verbs: [
      { name: 'claim', summary: 'take a warm task; prints its container', load: () => import('./pool-claim.ts') },
      { name: 'create', summary: 'keep tasks of an image ready', load: () => import('./pool-create.ts') },
      {
        name: 'drain',
        summary: 'end the ready tasks of pools, and make no more',
        load: () => import('./pool-drain.ts'),
      },
      { name: 'inspect', summary: 'a pool with its tasks, as JSON', load: () => import('./pool-inspect.ts') },
      { name: 'ls', summary: 'list pools', load: () => import('./pool-ls.ts') },
      { name: 'release', summary: 'hand claimed tasks back', load: () => import('./pool-release.ts') },
      { name: 'rm', summary: 'remove pools and their tasks', load: () => import('./pool-rm.ts') },
      { name: 'scale', summary: 'change how many tasks are kept ready', load: () => import('./pool-scale.ts') },
    ],
  },
  {
    name: 'port',
    summary: 'which ports of the host lead to a container',
    load: () => import('./port.ts'),
  },
  {
    name: 'prefetch',
    summary: 'pull images ahead of need, behind all that is waited for',
    load: () => import('./prefetch.ts'),
  },
  {
    name: 'project',
    summary: 'containers of run files: up, down',
    verbs: [{ name: 'ls', summary: 'list projects', load: () => import('./project-ls.ts') }],
  },
  {
    name: 'projection',
    summary: 'stored folds of the log',
    verbs: [
      {
        name: 'lag',
        summary: 'how many events of the log projections have still to fold',
        load: () => import('./projection-lag.ts'),
      },
      { name: 'ls', summary: 'list projections and how far they are', load: () => import('./projection-ls.ts') },
      {
        name: 'rebuild',
        summary: 'fold the whole log anew; reads go on meanwhile',
        load: () => import('./projection-rebuild.ts'),
      },
    ],
  },
  { name: 'ps', summary: 'list containers', load: () => import('./ps.ts') },
  { name: 'pull', summary: 'fetch an image and unpack it', load: pull },
  { name: 'push', summary: 'bring an image to its registry', load: push },
  { name: 'restart', summary: 'stop containers and start them anew', load: () => import('./restart.ts') },
  {
    name: 'restore',
    summary: 'have a container go on from the archive of a checkpoint',
    load: () => import('./restore.ts'),
  },
  { name: 'rename', summary: 'give a container another name', load: () => import('./rename.ts') },
  { name: 'rm', summary: 'remove containers', load: () => import('./rm.ts') },
  { name: 'rmi', summary: 'remove images and what only they hold', load: rmi },
  { name: 'run', summary: 'run a container, pulling its image if needed', load: () => import('./run.ts') },
  {
    name: 'runtime',
    summary: 'what containers are run with',
    verbs: [
      { name: 'check', summary: 'judge a runtime, and try its shim', load: () => import('./runtime-check.ts') },
      { name: 'ls', summary: 'list runtimes, and whether they are used', load: () => import('./runtime-ls.ts') },
    ],
  },
  {
    name: 'sandbox',
    summary: 'what containers share: namespaces, a network, a shim',
    verbs: [
      { name: 'create', summary: 'make a sandbox', load: () => import('./sandbox-create.ts') },
      {
        name: 'inspect',
        summary: 'sandboxes and the containers in them, as JSON',
        load: () => import('./sandbox-inspect.ts'),
      },
      { name: 'ls', summary: 'list sandboxes', load: () => import('./sandbox-ls.ts') },
      { name: 'rm', summary: 'remove sandboxes', load: () => import('./sandbox-rm.ts') },
      { name: 'start', summary: 'have sandboxes run', load: () => import('./sandbox-start.ts') },
      { name: 'stop', summary: 'end sandboxes with their containers', load: () => import('./sandbox-stop.ts') },
    ],
  },
  { name: 'save', summary: 'write images to an archive that docker, skopeo and others load', load: save },
  { name: 'sli', summary: 'how well the service does, against its objectives', load: () => import('./sli.ts') },
  {
    name: 'snapshot',
    summary: 'snapshots',
    verbs: [
      {
        name: 'apply',
        summary: 'extract a stored layer into one that can be written to',
        load: () => import('./snapshot-apply.ts'),
      },
      {
        name: 'commit',
        summary: 'make a written one a possible parent, under a name',
        load: () => import('./snapshot-commit.ts'),
      },
      {
        name: 'diff',
        summary: 'store what it has beside its parent as a layer',
        load: () => import('./snapshot-diff.ts'),
      },
      { name: 'ls', summary: 'list snapshots', load: () => import('./snapshot-ls.ts') },
      { name: 'prepare', summary: 'make one that can be written to', load: () => import('./snapshot-prepare.ts') },
      { name: 'rm', summary: 'remove snapshots that are no parents', load: () => import('./snapshot-rm.ts') },
      { name: 'usage', summary: 'what they take on disk', load: () => import('./snapshot-usage.ts') },
      { name: 'view', summary: 'make one that can only be read', load: () => import('./snapshot-view.ts') },
    ],
  },
  {
    name: 'snapshotter',
    summary: 'what keeps snapshots',
    verbs: [
      {
        name: 'ls',
        summary: 'list snapshotters, and whether they can be used',
        load: () => import('./snapshotter-ls.ts'),
      },
    ],
  },
  { name: 'start', summary: 'start containers', load: () => import('./start.ts') },
  {
    name: 'state',
    summary: 'the state that the log amounts to',
    verbs: [
      { name: 'diff', summary: 'what changed between two moments', load: () => import('./state-diff.ts') },
      {
        name: 'rebuild',
        summary: 'fold the log anew, and compare or repair',
        load: () => import('./state-rebuild.ts'),
      },
      { name: 'show', summary: 'everything as it was at a moment', load: () => import('./state-show.ts') },
    ],
  },
  { name: 'stats', summary: 'what containers use', load: () => import('./stats.ts') },
  { name: 'stop', summary: 'ask containers to end, then make them', load: () => import('./stop.ts') },
  { name: 'tag', summary: 'give an image a second name', load: tag },
  {
    name: 'task',
    summary: 'tasks: processes of containers',
    verbs: [
      {
        name: 'doctor',
        summary: 'compare log, shims and host, and say what to do',
        load: () => import('./task-doctor.ts'),
      },
      { name: 'ls', summary: 'list tasks', load: () => import('./task-ls.ts') },
    ],
  },
  { name: 'top', summary: 'the processes of a container', load: () => import('./top.ts') },
  { name: 'unpause', summary: 'thaw containers', load: () => import('./unpause.ts') },
  { name: 'up', summary: 'make and start the containers of a run file', load: () => import('./up.ts') },
  { name: 'update', summary: 'change limits and restart policies of containers', load: () => import('./update.ts') },
  { name: 'version', summary: 'version of the daemon', load: () => import('./version.ts') },
  { name: 'wait', summary: 'wait for containers to end; prints their exit codes', load: () => import('./wait.ts') },
  { name: 'why', summary: 'why something stopped, failed, went or waits', load: () => import('./why.ts') },
]
