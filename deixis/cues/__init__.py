"""Sources of cues, short phrases about an expression's target: name in params.yaml -> class, loaded when asked for."""

CUE_SOURCES = {
    "rule": "deixis.cues.rule:RuleCues",
    "spacy": "deixis.cues.parser:ParserCues",
    "hf": "deixis.cues.causal_lm:CausalLMCues",
    "openai": "deixis.cues.endpoint:EndpointCues",
    "cache": "deixis.cues.cache:CachedCues",
    "none": "deixis.cues.rule:NoCues",
}
