/**
 * Whether an image is one of those that a pattern stands for: `*.azurecr.io`, `registry.io:8080/path`. A star is within one
 * part of the host; the path is a prefix, the port is to be the same.
 *
 * @param image `registry/repository`
 * @see Kubernetes, pkg/credentialprovider/keyring.go, `URLsMatch`
 */
export function matchesImage(pattern: string, image: string): boolean {
  const [wanted, given] = [partsOf(pattern), partsOf(image)]
  return (
    wanted.port === given.port &&
    wanted.labels.length === given.labels.length &&
    given.path.startsWith(wanted.path) &&
    wanted.labels.every((label, index) => globOf(label).test(given.labels[index] ?? ''))
  )
}

function partsOf(text: string): { labels: string[]; port: string; path: string } {
  const slash = text.indexOf('/')
  const [host, path] = slash < 0 ? [text, ''] : [text.slice(0, slash), text.slice(slash)]
  const [, name = host, port = ''] = /^(.*):(\d+)$/.exec(host) ?? []
  return { labels: name.split('.'), port, path }
}

const globOf = (label: string): RegExp =>
  new RegExp(
    `^${label
      .replaceAll(/[^A-Za-z0-9*?-]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')}$`,
  )
