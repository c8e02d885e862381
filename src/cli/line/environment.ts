/**
 * A variable of the environment: the only place of the command line that reads it.
 *
 * `PURSER_ADDRESS` is the path of the daemon's socket and `PURSER_NAMESPACE` the namespace, for command lines that name none.
 * `TRACEPARENT` is the W3C trace context of whoever calls.
 * `-e KEY` and files of `--env-file` take any variable.
 */
export const environmentVariable = (name: string): string | undefined => process.env[name]
