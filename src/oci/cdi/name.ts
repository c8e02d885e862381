const VENDOR = /[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?/.source
const CLASS = /[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?/.source
export const CDI_DEVICE_NAME = /[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?/.source
export const CDI_KIND = new RegExp(`^${VENDOR}/${CLASS}$`)
const QUALIFIED = new RegExp(`^(${VENDOR}/${CLASS})=(${CDI_DEVICE_NAME})$`)

/** `vendor.com/class=name`; undefined for what is not written so. */
export function parseCdiName(text: string): { kind: string; name: string } | undefined {
  const [, kind, name] = QUALIFIED.exec(text) ?? []
  return text.length <= 512 && kind !== undefined && name !== undefined ? { kind, name } : undefined
}
