/** Where a job that waits stands. */
export interface JobTurn {
  /** Jobs that run on the node, of so many at once. */
  running: number
  places: number
  runningOfNamespace: number
  /** Jobs of its namespace that go before it. */
  ahead: number
  /** Other namespaces that have jobs waiting. */
  othersWaiting: number
  /** Its concurrency group, where that has no room. */
  fullGroup?: { name: string; running: number; max: number }
}
