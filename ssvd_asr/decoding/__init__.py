"""From encoder output to words. One decode path: the command line, the server and evaluation all come here.

prompt.Prompt      what the decoder is told before it speaks
grammar            which token may follow, where times are asked for
decoder.Decoder    what advances rows by a token; CachedDecoder is the one that keeps keys and values
greedy.greedy      the best token at each step, until each row ends
beam.beam          several hypotheses a row, by decoder and CTC; search.Search holds those of one row
best_path          no search: the CTC head's likeliest token of each frame
ctc_prefix         CTC's scores of all rows
positions          where its rows stand, with prompts of any lengths
rows.Rows          which decoder rows are hypotheses of one utterance
hypothesis         what comes out
"""
