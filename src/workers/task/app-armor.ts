import { appArmorParser, isAppArmorOn, isProfileLoaded, loadProfile } from '../../host/apparmor.ts'
import { PurserError } from '../../model/errors.ts'
import { APPARMOR_DEFAULT, APPARMOR_DEFAULT_TEXT } from '../../oci/spec/apparmor-profile.ts'
import type { ContainerOptions } from '../../oci/spec/container-options.ts'

/**
 * The AppArmor profile of a container: the one that is asked for, or the default one, loaded where it is not yet. Where
 * AppArmor is off, or its parser is not installed, there is no default.
 *
 * @throws PurserError failed_precondition when the one that is asked for is not there, or the default one is not taken
 */
export async function appArmorOf(
  { security, privileged }: ContainerOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  const asked = security?.apparmor ?? (privileged ? 'unconfined' : undefined)
  if (asked === 'unconfined') return undefined
  const parser = appArmorParser()
  const field = 'options.security.apparmor'
  if (!isAppArmorOn()) {
    if (asked === undefined) return undefined
    const why = `the profile ${asked} would guard nothing: AppArmor is not on in this kernel`
    throw new PurserError('failed_precondition', `security.apparmor: ${why}`, {
      remedy: 'leave it out, or boot with apparmor=1 security=apparmor',
      field,
    })
  }
  if (asked !== undefined) {
    if (isProfileLoaded(asked)) return asked
    throw new PurserError('failed_precondition', `security.apparmor: the profile ${asked} is not loaded`, {
      remedy: `load it: ${parser ?? 'apparmor_parser'} -r FILE; aa-status lists what is`,
      field,
    })
  }
  if (isProfileLoaded(APPARMOR_DEFAULT)) return APPARMOR_DEFAULT
  if (parser === undefined) return undefined
  await loadProfile(parser, APPARMOR_DEFAULT_TEXT, signal)
  return APPARMOR_DEFAULT
}
