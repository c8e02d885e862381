import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { identifier } from '../model/ids.ts'
import { Secret } from '../model/secret.ts'
import { isLoopback } from '../registry/endpoint.ts'

const file = z.string().startsWith('/', 'a file is an absolute path: begin it with /')

/** `[registry.serve]`: this node as a registry for others. */
export const serveSchema = z
  .strictObject({
    enabled: z.boolean().default(false).describe('serve the images that are here over the distribution API'),
    address: z
      .string()
      .regex(
        /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/,
        'an address to listen on is HOST:PORT, such as 127.0.0.1:5000',
      )
      .refine((address) => Number(address.slice(address.lastIndexOf(':') + 1)) < 65_536, 'a port is 65535 at most')
      .default('127.0.0.1:5000'),
    namespace: identifier.default('default').describe('whose images are served'),
    upstream: z.boolean().default(false).describe('pull what is missing, and keep it'),
    tlsCert: file.optional().describe('certificate of this server, PEM'),
    tlsKey: file.optional().describe('its key'),
    clientCa: file.optional().describe('authority whose certificates clients must have'),
    tokenFile: file.optional().describe('holds a token that clients must send, as a bearer or as a password'),
  })
  .refine(({ tlsCert, tlsKey }) => (tlsCert === undefined) === (tlsKey === undefined), {
    path: ['tlsKey'],
    message: 'a certificate and its key belong together: give tlsCert and tlsKey',
  })
  .refine(({ clientCa, tlsCert }) => clientCa === undefined || tlsCert !== undefined, {
    path: ['clientCa'],
    message: 'certificates of clients are asked for over TLS only: give tlsCert and tlsKey too',
  })
  .refine(
    ({ enabled, address, clientCa, tokenFile }) =>
      !enabled || isLoopback(address) || clientCa !== undefined || tokenFile !== undefined,
    {
      path: ['address'],
      message:
        'not a loopback address: others reach it, so clients must show a certificate (clientCa) or a token (tokenFile)',
    },
  )
  .prefault({})

type ServeConfig = z.output<typeof serveSchema>

/** The files that the configuration names, read. @throws PurserError not_found; invalid_argument for an empty token */
export function readServeFiles({ tlsCert, tlsKey, clientCa, tokenFile }: ServeConfig) {
  const token = tokenFile === undefined ? undefined : read('tokenFile', tokenFile).trim()
  if (token !== undefined && token.length < 16) {
    throw new PurserError(
      'invalid_argument',
      `registry.serve.tokenFile = "${tokenFile}": the token is shorter than 16 characters`,
      {
        field: 'registry.serve.tokenFile',
        remedy: 'write a random one into it: openssl rand -hex 32',
      },
    )
  }
  return {
    tls:
      tlsCert === undefined || tlsKey === undefined
        ? undefined
        : {
            cert: read('tlsCert', tlsCert),
            key: read('tlsKey', tlsKey),
            ...(clientCa === undefined ? {} : { clientCa: read('clientCa', clientCa) }),
          },
    token: token === undefined ? undefined : new Secret(token),
  }
}

function read(key: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new PurserError('not_found', `registry.serve.${key} = "${path}": the file cannot be read`, {
      field: `registry.serve.${key}`,
      remedy: 'name a file that the daemon may read',
      cause,
    })
  }
}
