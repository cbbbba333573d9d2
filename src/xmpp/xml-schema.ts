/** Values as XML Schema writes them in attributes. */

/** Whether an `xs:boolean` is there and true. */
export function isTrue(text: string | undefined): boolean {
  const value = text?.trim()
  return value === 'true' || value === '1'
}
