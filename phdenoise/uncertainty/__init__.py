"""How wrong a prediction is: predictive variance, parametric bootstrap, bias, missing frames, trust report."""
