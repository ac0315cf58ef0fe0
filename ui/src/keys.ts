/** Keys without a modifier are for the page, except where somebody writes or chooses. */

/** Whether a key is for the page: not in a field, not in a dialog, not with a modifier other than Shift. */
export function isForPage(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return false;
  const target = event.target;
  if (!(target instanceof HTMLElement)) return true;
  if (target.isContentEditable || target.closest('dialog') !== null) return false;
  if (['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName)) return false;
  // A button that has the focus takes these two itself.
  return !((event.key === ' ' || event.key === 'Enter') && target.closest('button, a, summary') !== null);
}
