/** What a file is by its first bytes, where people often have it in the place of another. */

/** The Git LFS pointer's first line, in full (Git LFS specification, "The Pointer"). */
const LFS = 'version https://git-lfs.github.com/spec/';

/** How the bytes that begin a file are called, if they are something that is often put in place of JSON or weights. */
export function kindOf(start: Uint8Array): string | undefined {
  if (start.length === 0) return 'an empty file';
  const text = Buffer.from(start.subarray(0, 512)).toString('latin1');
  if (text.startsWith(LFS)) return 'a Git LFS pointer (the file itself was not fetched: run `git lfs pull`)';
  if (/^(?:\u00ef\u00bb\u00bf)?\s*<(?:!doctype|html|head|\?xml)/i.test(text))
    return 'a web page (the download failed: fetch the file again)';
  if (/^(?:\xff\xfe|\xfe\xff)/.test(text))
    return 'UTF-16 text (as > of Windows PowerShell writes it: save the file as UTF-8)';
  if (/^\x7fELF/.test(text)) return 'a program';
  if (text.startsWith('PK\x03\x04')) return 'a zip archive';
  if (text.startsWith('\x1f\x8b')) return 'a gzip archive';
  if (/^\x28\xb5\x2f\xfd/.test(text)) return 'a zstd archive';
  // Text may have the letters there too, but no zeros.
  if (text.slice(257, 262) === 'ustar' && text.includes('\0')) return 'a tar archive';
  // Texts may begin with these letters too (PAR1 is a receptor), but not with the bytes behind them.
  if (text.startsWith('PAR1\x15')) return 'a Parquet file';
  if (text.startsWith('ARROW1\0')) return 'an Arrow file';
  if (/^%PDF-\d\.\d/.test(text)) return 'a PDF document';
  if (text.startsWith('\x80\x02') || text.startsWith('\x80\x04')) return 'a Python pickle';
  if (text.startsWith('\x00\x05\x16\x07')) return 'an AppleDouble file (what macOS keeps beside a file)';
  if (start.subarray(0, 512).every((byte) => byte === 0)) return 'zeros (the file was never written)';
  return undefined;
}
