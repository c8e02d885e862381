/** Verbs of docker that there are not, and what serves instead. */
export const DOCKER_VERBS: ReadonlyMap<string, string> = new Map([
  ['build', 'build with another tool, then purser load'],
  ['compose', 'purser up -f FILE starts the containers of a run file'],
  ['container', 'its verbs stand alone: purser ps, purser run, purser rm'],
  ['diff', 'purser snapshot diff CONTAINER makes a layer of what a container changed'],
  ['export', 'purser cp CONTAINER:/ - writes the files of a container as a tar'],
  ['import', 'purser load takes images out of an archive'],
  ['login', "credentials of docker's config.json count; docs/registries.md has the other ways"],
  ['system', 'purser info, purser events and purser gc'],
  ['volume', 'there are no named volumes: mount a directory with -v /SOURCE:/TARGET'],
])
