import { type CredentialsSource, firstOf } from '../registry/credentials.ts'
import { dockerCredentials } from '../registry/docker-config.ts'
import { kubeletCredentials } from '../registry/kubelet-providers.ts'
import type { Config } from './config.ts'

/** Where credentials for registries come from: plugins for the images that they are for, then what docker login left. */
export function credentialsFrom({ dockerConfig, credentialProviders }: Config['registry']): CredentialsSource {
  const docker = dockerCredentials(dockerConfig === undefined ? {} : { file: dockerConfig })
  return credentialProviders === undefined ? docker : firstOf(kubeletCredentials(credentialProviders), docker)
}
